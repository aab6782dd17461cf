package provider

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// A File is a file that an input names, as a driver hands it to the provider.
type File struct {
	Name string
	// ContentType is what the bytes are; empty where they do not tell.
	ContentType string
	Size        int64
	SHA256      string
	// Open reads the file from its beginning. It fails at the end of bytes that are not the file's.
	Open func(context.Context) (io.ReadCloser, error)
}

// A FileRule is what a provider takes at one place of a model's input, as far as that is known. Zero fields bound nothing.
type FileRule struct {
	// Purpose is what the file is uploaded for. Without one the provider takes no upload there, and the file is sent as a
	// data: URL.
	Purpose string
	// MaxBytes bounds the file.
	MaxBytes int64
	// Types are the media types that are taken.
	Types []string
	// MinSide and MaxSide bound both sides of a picture in pixels, MinRatio and MaxRatio its width divided by its height.
	MinSide, MaxSide   int
	MinRatio, MaxRatio float64
}

// An Uploaded is a file that a provider has.
type Uploaded struct {
	// Value is what stands for the file in an input, as JSON.
	Value json.RawMessage `json:"value"`
	// ExpiresAt is when the provider forgets it.
	ExpiresAt time.Time `json:"expires_at"`
}
