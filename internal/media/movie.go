package media

import (
	"encoding/binary"
	"io"
)

const (
	// maxBoxes bounds how many boxes of a file are visited: a fragmented file has some for each second.
	maxBoxes = 10_000
	// movieHeadBytes is as much of a header's payload as is read: that of a track, version 1.
	movieHeadBytes = 96
)

// A movie reads the headers of an ISO base media file (ISO/IEC 14496-12), wherever in the file they are. The media
// itself is skipped.
type movie struct {
	file  *io.SectionReader
	boxes int
	found Figures
	// area is that of the largest picture so far.
	area uint64
}

// A track is what the boxes of one track say.
type track struct {
	width, height uint64
	video         bool
}

func measureMovie(r *io.SectionReader) Figures {
	m := movie{file: r}
	m.walk(0, r.Size(), nil)
	return m.found
}

// walk visits the boxes from one offset to another, which belong to t if they are in a track.
func (m *movie) walk(from, to int64, t *track) {
	for m.boxes < maxBoxes && to-from >= 8 {
		m.boxes++
		head, ok := readAt(m.file, from, 8)
		if !ok {
			return
		}
		size, start := int64(be32(head)), from+8
		switch size {
		case 0: // to the end
			size = to - from
		case 1: // the size follows in 64 bits
			long, ok := readAt(m.file, start, 8)
			if !ok {
				return
			}
			size, start = int64(binary.BigEndian.Uint64(long)), start+8
		}
		if size < start-from || size > to-from {
			return
		}
		m.box(string(head[4:]), start, from+size, t)
		from += size
	}
}

// box reads one box, whose payload is from one offset to another. How deep boxes nest is bounded by their number.
func (m *movie) box(kind string, from, to int64, t *track) {
	switch kind {
	case "moov":
		m.walk(from, to, nil)
		return
	case "trak":
		one := &track{}
		m.walk(from, to, one)
		if area := one.width * one.height; one.video && area > m.area {
			m.area, m.found.Width, m.found.Height = area, int(one.width), int(one.height)
		}
		return
	case "mdia":
		m.walk(from, to, t)
		return
	case "mvhd", "tkhd", "hdlr":
	default:
		return
	}
	b := make([]byte, min(movieHeadBytes, to-from))
	if n, _ := m.file.ReadAt(b, from); n != len(b) {
		return
	}
	switch kind {
	case "mvhd":
		m.movieHeader(b)
	case "tkhd":
		t.header(b)
	case "hdlr":
		if t != nil && len(b) >= 12 {
			t.video = string(b[8:12]) == "vide"
		}
	}
}

// movieHeader reads: version and flags, times of creation and of change, timescale, length. Times and length have 64 bits
// in version 1 and 32 in version 0. The length of a fragmented file is 0, and one that is not known has all bits.
func (m *movie) movieHeader(b []byte) {
	switch {
	case len(b) >= 32 && b[0] == 1:
		m.found.Duration = lasting(binary.BigEndian.Uint64(b[24:]), be32(b[20:]))
	case len(b) >= 20 && b[0] == 0 && be32(b[16:]) != 1<<32-1:
		m.found.Duration = lasting(be32(b[16:]), be32(b[12:]))
	}
}

// header reads the size of a track, which is behind its matrix at the end, both in numbers of 16.16 bits. A matrix that
// turns by a quarter changes width and height.
func (t *track) header(b []byte) {
	matrix := 40
	if len(b) > 0 && b[0] == 1 {
		matrix = 52
	}
	if t == nil || len(b) < matrix+44 {
		return
	}
	t.width, t.height = be32(b[matrix+36:])>>16, be32(b[matrix+40:])>>16
	if be32(b[matrix:]) == 0 && be32(b[matrix+4:]) != 0 {
		t.width, t.height = t.height, t.width
	}
}
