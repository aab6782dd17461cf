package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// maxMediaBytes bounds one downloaded file.
	maxMediaBytes = 2 << 30
	// maxRedirects bounds the redirects of one download.
	maxRedirects = 3
	// downloadTimeout bounds one download.
	downloadTimeout = 30 * time.Minute
	// downloadTries is how often a download is tried; unlike a submit it is free.
	downloadTries = 3
	// maxNames is how many names are tried for one file before giving up.
	maxNames = 1000
)

var (
	errTooLarge  = errors.New("the file is over the limit")
	errUnsafeURL = errors.New("the link is not safe to follow")
	errChecksum  = errors.New("the file is not what the record says")
)

// A downloader saves the outputs of a task. It sends no credentials.
type downloader struct {
	client *http.Client
	dir    string
	// maxBytes bounds one file.
	maxBytes int64
	// pause is the pause before the second try; it doubles with each.
	pause time.Duration
}

// newDownloader saves into dir, which is created if need be. It uses the environment's proxy, as other downloads do.
func newDownloader(dir string) *downloader {
	transport := provider.NewTransport()
	transport.Proxy = http.ProxyFromEnvironment
	return &downloader{
		client: &http.Client{Transport: transport, Timeout: downloadTimeout, CheckRedirect: checkRedirect},
		dir:    dir, maxBytes: maxMediaBytes, pause: time.Second,
	}
}

// saveAll saves every output of a result and returns the paths of those that worked, and what went wrong with the
// others.
func (d *downloader) saveAll(ctx context.Context, taskID string, outputs []events.Output) ([]string, error) {
	var paths []string
	var errs []error
	for i, o := range outputs {
		base := taskID
		if len(outputs) > 1 {
			base = fmt.Sprintf("%s-%d", taskID, i+1)
		}
		saved, err := d.save(ctx, base, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("output %d: %w", i+1, err))
			continue
		}
		paths = append(paths, saved)
	}
	return paths, errors.Join(errs...)
}

// save downloads one output under a name that begins with base, and returns its path. It tries again after what may
// pass.
func (d *downloader) save(ctx context.Context, base string, o events.Output) (string, error) {
	pause := d.pause
	for try := 1; ; try++ {
		saved, again, err := d.try(ctx, base, o)
		if err == nil || !again || try == downloadTries {
			return saved, err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// try downloads once; again says whether another try may help.
func (d *downloader) try(ctx context.Context, base string, o events.Output) (saved string, again bool, err error) {
	link, err := url.Parse(o.URL)
	if err != nil {
		return "", false, fmt.Errorf("%w: it is no URL", errUnsafeURL)
	}
	if err := checkLink(link); err != nil {
		return "", false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return "", false, err
	}
	res, err := d.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, whose query may be a pass to the file
		}
		return "", !errors.Is(err, errUnsafeURL), fmt.Errorf("download from %s: %w", link.Host, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		again := res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests
		return "", again, fmt.Errorf("download from %s: HTTP %d; the link may have expired", link.Host, res.StatusCode)
	}
	if res.ContentLength > d.maxBytes {
		return "", false, fmt.Errorf("%w of %d bytes: it has %d", errTooLarge, d.maxBytes, res.ContentLength)
	}
	ext := extension(o, res.Header.Get("Content-Type"), link)
	saved, err = d.store(base, ext, res.Body, o.SHA256)
	return saved, err != nil && !errors.Is(err, errTooLarge) && !isFileError(err), err
}

// store writes body to a temporary file beside its place and then gives it a free name, so that a name never stands for
// half a file and no file is ever overwritten.
func (d *downloader) store(base, ext string, body io.Reader, wantSHA256 string) (string, error) {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(d.dir, ".reelay-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	defer tmp.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, sum), io.LimitReader(body, d.maxBytes+1))
	if err != nil {
		return "", err
	}
	if n > d.maxBytes {
		return "", fmt.Errorf("%w of %d bytes", errTooLarge, d.maxBytes)
	}
	if wantSHA256 != "" && !strings.EqualFold(wantSHA256, hex.EncodeToString(sum.Sum(nil))) {
		return "", fmt.Errorf("%w: its SHA-256 differs", errChecksum)
	}
	// The provider's link dies; what is reported as saved must survive a crash.
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return "", err
	}
	name, err := d.reserve(base, ext)
	if err != nil {
		return "", err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return name, nil
}

// reserve creates an empty file under the first free name of base.ext, base_2.ext, base_3.ext and so on.
func (d *downloader) reserve(base, ext string) (string, error) {
	for n := 1; n <= maxNames; n++ {
		name := base + ext
		if n > 1 {
			name = fmt.Sprintf("%s_%d%s", base, n, ext)
		}
		name = filepath.Join(d.dir, name)
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err == nil {
			return name, f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: no free name in %s", base+ext, d.dir)
}

// checkLink accepts https, and http for loopback addresses only; never a user in the URL, which would be sent as
// credentials.
func checkLink(u *url.URL) error {
	if u.User != nil {
		return fmt.Errorf("%w: it holds credentials", errUnsafeURL)
	}
	if u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && provider.IsLoopback(u.Hostname())) {
		return nil
	}
	return fmt.Errorf("%w: it is not https (plain http is for loopback addresses only)", errUnsafeURL)
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d redirects", errUnsafeURL, maxRedirects)
	}
	req.Header.Del("Referer") // the former link may be a pass to the file
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: it leads from https to %s", errUnsafeURL, req.URL.Scheme)
	}
	return checkLink(req.URL)
}

// isFileError reports an error of the local file system, which another download does not mend.
func isFileError(err error) bool {
	var pe *fs.PathError
	var le *os.LinkError
	return errors.As(err, &pe) || errors.As(err, &le)
}

var urlExtension = regexp.MustCompile(`^\.[A-Za-z0-9]{1,5}$`)

// extension returns the file name's end: by the output's content type, by that of the answer, by the URL, else ".bin".
func extension(o events.Output, contentType string, link *url.URL) string {
	for _, t := range []string{o.ContentType, contentType} {
		if media, _, err := mime.ParseMediaType(t); err == nil && extensionOf(media) != "" {
			return extensionOf(media)
		}
	}
	for _, name := range []string{link.Path, o.FileName} {
		if ext := path.Ext(name); urlExtension.MatchString(ext) {
			return strings.ToLower(ext)
		}
	}
	return ".bin"
}

// extensionOf names media types alike on every system; the tables of package mime depend on what is installed.
func extensionOf(media string) string {
	switch media {
	case "video/mp4":
		return ".mp4"
	case "video/webm":
		return ".webm"
	case "video/quicktime":
		return ".mov"
	case "image/png":
		return ".png"
	case "image/jpeg":
		return ".jpg"
	case "image/webp":
		return ".webp"
	case "image/gif":
		return ".gif"
	case "audio/mpeg", "audio/mp3":
		return ".mp3"
	case "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave":
		return ".wav"
	case "audio/ogg":
		return ".ogg"
	case "audio/flac", "audio/x-flac":
		return ".flac"
	case "audio/mp4", "audio/x-m4a":
		return ".m4a"
	case "audio/aac":
		return ".aac"
	case "model/gltf-binary":
		return ".glb"
	case "application/json":
		return ".json"
	default:
		return ""
	}
}
