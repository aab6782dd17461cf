package emulator

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the sample video
	"encoding/binary"
	"encoding/hex"
	"image"
	"image/color"
	"image/png"
	"math"
	"net/http"
	"time"
)

//go:embed media/sample.mp4
var sampleMP4 []byte

const (
	imageWidth, imageHeight = 160, 90
	audioRate               = 8000 // samples per second, mono, 16 bits
	audioSeconds            = 1
)

// Media returns a small playable file of the task type t: an MP4 for "video", a PNG for "image", a WAV for "audio" and
// "speech". Any other type is served as "video". The bytes are the same at each call; the caller must not change them.
func Media(t string) (name, contentType string, body []byte) {
	switch t {
	case "image":
		return "sample.png", "image/png", testImage()
	case "audio":
		return "sample.wav", "audio/wav", tone(440)
	case "speech":
		return "sample.wav", "audio/wav", tone(220)
	default:
		return "sample.mp4", "video/mp4", sampleMP4
	}
}

// ServeMedia answers GET and HEAD, ranges and If-None-Match with the file of the task type t, as an attachment, the way
// the providers' file hosts do.
func ServeMedia(w http.ResponseWriter, r *http.Request, t string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	name, contentType, body := Media(t)
	sum := sha256.Sum256(body)
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	// The content never changes, so its time does not either.
	modified := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	http.ServeContent(w, r, name, modified, bytes.NewReader(body))
}

// testImage draws colour bars.
func testImage() []byte {
	bars := []color.RGBA{
		{255, 255, 255, 255},
		{255, 255, 0, 255},
		{0, 255, 255, 255},
		{0, 255, 0, 255},
		{255, 0, 255, 255},
		{255, 0, 0, 255},
		{0, 0, 255, 255},
		{0, 0, 0, 255},
	}
	m := image.NewRGBA(image.Rect(0, 0, imageWidth, imageHeight))
	for y := range imageHeight {
		for x := range imageWidth {
			m.SetRGBA(x, y, bars[x*len(bars)/imageWidth])
		}
	}
	var b bytes.Buffer
	_ = png.Encode(&b, m) // a Buffer does not fail, and the image is within PNG's limits
	return b.Bytes()
}

// SilentMP3 returns a second of silence as an MP3 file: 28 frames of MPEG-1 layer III, 64 kbit/s, 32 kHz, mono, each a
// header, side information that is all zero and nothing to decode (ISO/IEC 11172-3, 2.4.1).
func SilentMP3() []byte {
	const frames, frameBytes = 28, 144 * 64_000 / 32_000
	frame := make([]byte, frameBytes)
	copy(frame, []byte{0xff, 0xfb, 0x58, 0xc0})
	return bytes.Repeat(frame, frames)
}

// tone writes a sine wave of that frequency in Hz as a WAV file.
func tone(hz float64) []byte {
	const size = audioRate * audioSeconds * 2
	b := make([]byte, 0, 44+size)
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, 36+size)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 1) // PCM
	b = binary.LittleEndian.AppendUint16(b, 1) // channels
	b = binary.LittleEndian.AppendUint32(b, audioRate)
	b = binary.LittleEndian.AppendUint32(b, audioRate*2)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, size)
	for i := range audioRate * audioSeconds {
		v := math.Sin(2 * math.Pi * hz * float64(i) / audioRate)
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(v*math.MaxInt16/4)))
	}
	return b
}
