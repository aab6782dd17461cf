// Package cloud keeps files in the object stores of cloud providers, and of servers that speak like them: S3 (AWS, R2,
// MinIO, Ceph) and Azure. It also reads objects there that tasks are given as inputs. It links their SDKs, which are large, so only package artifact/all imports it.
//
// Credentials come from the environment, or from the machine, as the SDKs have it: AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY, a profile or a role; AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or an identity. They need to
// read, write, list and delete; of buckets of inputs it is enough that they may read.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"

	"reelay/internal/artifact"
)

const (
	// partBytes is the size of one part of a file as it is sent, the least that S3 takes. With its 10,000 parts a file has
	// at most 50 GB.
	partBytes = 5 << 20
	// partsAhead is how many parts of one file are sent at once, putsAtOnce how many files: each part is in memory.
	partsAhead = 2
	putsAtOnce = 2
	// onePiece is the size up to which a file is sent to S3 in one piece, which takes no memory and is twice as fast where a
	// server has to join parts. It begins anew where it breaks off. S3 takes up to 5 GB.
	onePiece = 4 << 30
	// askWait bounds one question to a store, putWait the sending of one file, so that one that stands still does not keep
	// the others for ever. Reading takes as long as it does.
	askWait = 30 * time.Second
	putWait = time.Hour
	// validation is the parameter of s3blob that says when sums of S3's own are wanted of an answer.
	validation = "response_checksum_validation"
	// cacheControl and disposition are how a file is handed out by a link.
	cacheControl, disposition = "private, max-age=31536000, immutable", "attachment"
)

// Blobs keeps files in a bucket of S3 or a container of Azure.
type Blobs struct {
	bucket *blob.Bucket
	puts   chan struct{}
	// s3 is the client of S3; nil for another store. name and prefix are where files are there.
	s3           *s3.Client
	name, prefix string
}

// Open returns the store of a URL, s3://bucket/prefix?parameters or azblob://container/prefix?parameters. The parameters
// are those of packages s3blob and azureblob of gocloud.dev, such as region, endpoint and use_path_style, or
// storage_account. It fails if the store refuses; one that cannot be reached now is asked again when it is needed.
func Open(ctx context.Context, u url.URL) (*Blobs, error) {
	prefix := strings.Trim(u.Path, "/")
	bucket, err := openBucket(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("artifact store: %w", plain(err))
	}
	if prefix != "" {
		bucket = blob.PrefixedBucket(bucket, prefix+"/")
	}
	ask, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	ok, err := bucket.IsAccessible(ask)
	status, _ := refusal(err)
	switch {
	case err == nil && !ok:
		err = fmt.Errorf("there is no bucket %s: create it first", u.Host)
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests:
		err = fmt.Errorf("the bucket %s cannot be listed with the credentials of the environment: %w", u.Host, plain(err))
	default:
		b := &Blobs{bucket: bucket, puts: make(chan struct{}, putsAtOnce), name: u.Host}
		if bucket.As(&b.s3); prefix != "" {
			b.prefix = prefix + "/"
		}
		return b, nil
	}
	return nil, errors.Join(fmt.Errorf("artifact store: %w", err), bucket.Close())
}

// openBucket opens the bucket of a URL as a whole.
func openBucket(ctx context.Context, u url.URL) (*blob.Bucket, error) {
	q := u.Query()
	u.Path = ""
	if u.Scheme == "s3" && !q.Has(validation) { // a file is known by its sum; the SDK logs every answer that has none
		q.Set(validation, "when_required")
		u.RawQuery = q.Encode()
	}
	return blob.OpenBucket(ctx, u.String())
}

// Put implements artifact.Driver. A store shows a file once its last part is there, and takes no second one by its name.
func (b *Blobs) Put(ctx context.Context, name string, content io.Reader) error {
	select {
	case b.puts <- struct{}{}:
		defer func() { <-b.puts }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, putWait)
	defer cancel()
	err := b.bucket.Upload(ctx, name, content, &blob.WriterOptions{
		IfNotExist: true, BufferSize: partBytes, MaxConcurrency: partsAhead, ContentType: artifact.ContentType(name),
		CacheControl: cacheControl, ContentDisposition: disposition,
	})
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return artifact.ErrExists
	}
	return plain(err)
}

// Adopt implements artifact.Adopter: it sends a file to S3 in one piece, straight from disk. S3 compares it with its sum.
func (b *Blobs) Adopt(ctx context.Context, n artifact.Name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (b.s3 == nil || info.Size() > onePiece) {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, putWait)
	defer cancel()
	_, err = b.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.name, Key: new(b.prefix + n.String()), Body: f, ContentLength: new(info.Size()), IfNoneMatch: new("*"),
		ContentType:  new(artifact.ContentType(n.String())),
		CacheControl: new(cacheControl), ContentDisposition: new(disposition),
	}, s3.WithAPIOptions(withPayloadHash(n.SHA256)), func(o *s3.Options) {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // the sum is enough
	})
	if status, _ := refusal(err); status == http.StatusPreconditionFailed {
		return artifact.ErrExists
	}
	return plain(err)
}

// withPayloadHash has a request signed with the sum of its body that is known, which would be taken of it else. The server
// refuses another body.
func withPayloadHash(sum string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("KnownPayloadHash", func(ctx context.Context,
			in middleware.InitializeInput, next middleware.InitializeHandler,
		) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(v4.SetPayloadHash(ctx, sum), in)
		}), middleware.Before)
	}
}

// Open implements artifact.Driver.
func (b *Blobs) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if offset > 0 { // what begins at the end is an error of some stores
		size, _, err := b.Stat(ctx, name)
		if err != nil {
			return nil, err
		}
		if offset >= size {
			return http.NoBody, nil
		}
	}
	r, err := b.bucket.NewRangeReader(ctx, name, offset, -1, nil)
	if err != nil {
		return nil, plain(err)
	}
	return r, nil
}

// Stat implements artifact.Driver.
func (b *Blobs) Stat(ctx context.Context, name string) (int64, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	a, err := b.bucket.Attributes(ctx, name)
	if err != nil {
		return 0, time.Time{}, plain(err)
	}
	return a.Size, a.ModTime, nil
}

// Delete implements artifact.Driver.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	if err := plain(b.bucket.Delete(ctx, name)); err != nil && !errors.Is(err, artifact.ErrNotFound) {
		return err
	}
	return nil
}

// List implements artifact.Driver.
func (b *Blobs) List(ctx context.Context, prefix string,
	visit func(name string, size int64, storedAt time.Time) error,
) error {
	all := b.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return plain(err)
		}
		if err := visit(o.Key, o.Size, o.ModTime); err != nil {
			return err
		}
	}
}

// Link implements artifact.Linker. Only S3 gives the file another name than it has in the store. Without a shared key
// Azure gives no links.
func (b *Blobs) Link(ctx context.Context, name, fileName string, age time.Duration) (string, error) {
	link, err := b.bucket.SignedURL(ctx, name, &blob.SignedURLOptions{
		Expiry: age, Method: http.MethodGet,
		BeforeSign: func(as func(any) bool) error {
			var get *s3.GetObjectInput
			if as(&get) {
				says := mime.FormatMediaType("attachment", map[string]string{"filename": fileName})
				get.ResponseContentDisposition = &says
			}
			return nil
		},
	})
	if errors.Is(err, bloberror.MissingSharedKeyCredential) || gcerrors.Code(err) == gcerrors.Unimplemented {
		return "", errors.ErrUnsupported
	}
	return link, plain(err)
}

// plain makes an error short, of one line, and without the URL of a request, which may be a pass to the store.
func plain(err error) error {
	var failed *url.Error
	var noHost *net.DNSError
	status, code := refusal(err)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &noHost): // which Azure's driver takes for a file that is not there
		return noHost
	case gcerrors.Code(err) == gcerrors.NotFound:
		return artifact.ErrNotFound
	case status != 0:
		return fmt.Errorf("the store answers HTTP %d, %s", status, code)
	case errors.As(err, &failed):
		return failed.Err
	}
	return err
}

// refusal returns the status of an answer that is an error, and the store's word for it; 0 for any other error.
func refusal(err error) (status int, code string) {
	var azure *azcore.ResponseError
	if errors.As(err, &azure) {
		return azure.StatusCode, azure.ErrorCode
	}
	var answer interface{ HTTPStatusCode() int } // the SDK of S3 has it in several types
	var word interface{ ErrorCode() string }
	if errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	if errors.As(err, &word) {
		code = word.ErrorCode()
	}
	return status, code
}
