package media

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"time"
)

const (
	// maxChunks bounds how many chunks of a WAV file are read.
	maxChunks = 1000
	// maxFrames bounds how many frames of an MP3 file are read: some seven hours.
	maxFrames = 1_000_000
	// mp3Buffer holds many frames, the largest of which has 2881 bytes.
	mp3Buffer = 64 << 10
)

// measureWAV reads the chunks of a RIFF file: the format says how many bytes a second has. A file that was written as it
// was made may not know its length; then it is what is there.
func measureWAV(r *io.SectionReader) time.Duration {
	var rate uint64
	for at, chunk := int64(12), 0; chunk < maxChunks; chunk++ {
		head, ok := readAt(r, at, 8)
		if !ok {
			return 0
		}
		size := le32(head[4:])
		at += 8
		switch string(head[:4]) {
		case "fmt ":
			format, ok := readAt(r, at, 16)
			if !ok {
				return 0
			}
			rate = le32(format[8:])
		case "data":
			if there := uint64(r.Size() - at); size == 0 || size > there {
				size = there
			}
			return lasting(size, rate)
		}
		at += int64(size + size%2)
	}
	return 0
}

// measureFLAC reads the first block, which is always there (RFC 9639, section 8.2).
func measureFLAC(r *io.SectionReader) time.Duration {
	b, ok := readAt(r, 0, 26)
	if !ok || string(b[:4]) != "fLaC" || b[4]&0x7f != 0 {
		return 0
	}
	bits := binary.BigEndian.Uint64(b[18:]) // rate: 20, channels: 3, depth: 5, samples: 36
	return lasting(bits&(1<<36-1), bits>>44)
}

// measureMP3 counts the samples of all frames: no header has to say how many there are.
func measureMP3(r *io.SectionReader) time.Duration {
	in := bufio.NewReaderSize(r, mp3Buffer)
	skipID3(in)
	var samples, rate uint64
	for range maxFrames {
		head, err := in.Peek(4)
		f, ok := mp3Frame(head)
		if err != nil || !ok || rate != 0 && f.rate != rate {
			break
		}
		if rate == 0 {
			rate = f.rate
			if first, err := in.Peek(f.size); err == nil && isInfo(first) { // it has no sound
				f.samples = 0
			}
		}
		if _, err := in.Discard(f.size); err != nil {
			break // the last one is cut off
		}
		samples += f.samples
	}
	return lasting(samples, rate)
}

// skipID3 skips tags of version 2, whose size is in four times seven bits.
func skipID3(in *bufio.Reader) {
	for {
		b, err := in.Peek(10)
		if err != nil || string(b[:3]) != "ID3" {
			return
		}
		size := int(b[6]&0x7f)<<21 | int(b[7]&0x7f)<<14 | int(b[8]&0x7f)<<7 | int(b[9]&0x7f)
		if b[5]&0x10 != 0 { // with a footer
			size += 10
		}
		if _, err := in.Discard(10 + size); err != nil {
			return
		}
	}
}

// isInfo says of a frame that it describes the others, as an encoder of variable bit rate begins.
func isInfo(frame []byte) bool {
	head := frame[:min(len(frame), 64)]
	return bytes.Contains(head, []byte("Xing")) || bytes.Contains(head, []byte("Info")) || bytes.Contains(head, []byte("VBRI"))
}

// An mp3Head is the head of one frame: its bytes with the head, its samples, and how many of them a second has.
type mp3Head struct {
	size          int
	samples, rate uint64
}

// mp3Rates are those of MPEG 1, mp3Bits the kilobits a second of layer III, of MPEG 1 and of MPEG 2 and 2.5
// (ISO/IEC 11172-3, section 2.4.2.3, and 13818-3).
var (
	mp3Rates = [...]uint64{44100, 48000, 32000}
	mp3Bits  = [2][15]int{
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
	}
)

// mp3Frame reads the head of a frame of layer III with a fixed size.
func mp3Frame(b []byte) (h mp3Head, ok bool) {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe6 != 0xe2 { // 11 bits of sync, layer III
		return h, false
	}
	version, bits, rate := b[1]>>3&3, b[2]>>4, b[2]>>2&3
	if version == 1 || bits == 0 || bits == 15 || rate == 3 {
		return h, false
	}
	h.rate, h.samples = mp3Rates[rate], 1152
	row := 0
	if version != 3 { // MPEG 2, and with version 0 MPEG 2.5
		h.rate, h.samples, row = h.rate/2, 576, 1
	}
	if version == 0 {
		h.rate /= 2
	}
	h.size = int(h.samples)/8*mp3Bits[row][bits]*1000/int(h.rate) + int(b[2]>>1&1)
	return h, true
}
