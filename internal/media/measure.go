package media

import (
	"encoding/binary"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"time"

	"golang.org/x/image/webp"
)

// Figures are what a file says of itself; zero for what it does not say.
type Figures struct {
	// Width and Height are in pixels, as a video is shown; those of a picture are as it is stored.
	Width, Height int
	Duration      time.Duration
}

const (
	// maxPixels bounds a width or a height, maxDuration a length: more than that is not taken for the truth.
	maxPixels   = 1 << 17
	maxDuration = 100 * time.Hour
	// maxPictureHead is how much of a picture is read in search of its size, which a JPEG has behind its metadata.
	maxPictureHead = 16 << 20
)

// Measure reads the size and the length of a file of a type: of MP4, MOV and M4A, of PNG, JPEG, GIF and WebP, and of
// WAV, FLAC and MP3. Any other file, and one that is damaged, has no figures: they are for people, and no check. It
// reads headers only, but for MP3, which has none for the whole, and it reads a bounded number of times.
func Measure(file io.ReaderAt, size int64, t Type) Figures {
	r := io.NewSectionReader(file, 0, size)
	var f Figures
	switch t.Ext {
	case ".mp4", ".mov", ".m4v", ".m4a", ".3gp":
		f = measureMovie(r)
	case ".wav":
		f.Duration = measureWAV(r)
	case ".flac":
		f.Duration = measureFLAC(r)
	case ".mp3":
		f.Duration = measureMP3(r)
	default:
		f.Width, f.Height = PictureSize(r, t)
	}
	if f.Width <= 0 || f.Height <= 0 || f.Width > maxPixels || f.Height > maxPixels {
		f.Width, f.Height = 0, 0
	}
	if f.Duration < 0 || f.Duration > maxDuration {
		f.Duration = 0
	}
	return f
}

// PictureSize reads the size of a PNG, JPEG, GIF or WebP as it is stored, in pixels, from the beginning of its file, of
// which it reads 16 MiB at most; 0 for any other file, and for one that is damaged.
func PictureSize(file io.Reader, t Type) (width, height int) {
	decode := map[string]func(io.Reader) (image.Config, error){
		".png": png.DecodeConfig, ".jpg": jpeg.DecodeConfig, ".gif": gif.DecodeConfig, ".webp": webp.DecodeConfig,
	}[t.Ext]
	if decode == nil {
		return 0, 0
	}
	c, err := decode(io.LimitReader(file, maxPictureHead))
	if err != nil {
		return 0, 0
	}
	return c.Width, c.Height
}

// lasting is how long units last of which there are rate in a second; 0 if that is no length.
func lasting(units uint64, rate uint64) time.Duration {
	if rate == 0 {
		return 0
	}
	seconds := float64(units) / float64(rate)
	if seconds > maxDuration.Seconds() {
		return 0
	}
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// readAt reads n bytes at an offset; ok is false where they are not there.
func readAt(r io.ReaderAt, offset int64, n int) (b []byte, ok bool) {
	b = make([]byte, n)
	got, _ := r.ReadAt(b, offset) // io.EOF at the very end is no failure
	return b, got == n
}

func be32(b []byte) uint64 { return uint64(binary.BigEndian.Uint32(b)) }

func le32(b []byte) uint64 { return uint64(binary.LittleEndian.Uint32(b)) }
