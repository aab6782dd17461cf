package ffmpeg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

const (
	previewName = "preview.jpg"
	previewType = "image/jpeg"
	// pictureFormats are the kinds of pictures that are read, each told by the bytes of the file.
	pictureFormats = "png_pipe,jpeg_pipe,webp_pipe,gif,bmp_pipe,tiff_pipe"
	// maxPixels bounds a picture as it is decoded, whatever few bytes it comes in: 256 MiB at four bytes each.
	maxPixels = "67108864"
)

// previewSides are the longest sides of a preview, in pixels: the first that makes a small enough file is taken.
func previewSides() []int { return []int{640, 384, 192} }

// Preview makes a JPEG of a picture, or of the middle of a video, that has at most maxBytes; files are those of dir, as
// for Do. It fails with ErrTooLarge where even a small one has more.
func (t *Tool) Preview(ctx context.Context, dir, file string, video bool, maxBytes int64) (Made, error) {
	input := []string{"-protocol_whitelist", "file", "-format_whitelist", pictureFormats, "-i", file}
	if video {
		in, err := t.probe(ctx, dir, file)
		if err != nil {
			return Made{}, err
		}
		input = append(safe("-ss", seconds(in.seconds/2)), "-i", file)
	}
	for _, side := range previewSides() {
		args := append([]string{"-nostdin", "-y", "-v", "error", "-nostats", "-max_pixels", maxPixels, "-threads", "1"}, input...)
		args = append(args, "-map", "0:v:0", "-frames:v", "1", "-update", "1", "-map_metadata", "-1",
			"-vf", fmt.Sprintf("scale=w='min(%d,iw)':h='min(%[1]d,ih)':force_original_aspect_ratio=decrease", side),
			"-q:v", "5", "-threads", strconv.Itoa(t.Threads), previewName)
		if err := t.run(ctx, t.ffmpeg, dir, &bounded{}, args...); err != nil {
			return Made{}, err
		}
		stat, err := os.Stat(filepath.Join(dir, previewName))
		if err != nil {
			return Made{}, &InputError{"ffmpeg has made no picture of the file"}
		}
		if stat.Size() <= maxBytes {
			return Made{Name: previewName, ContentType: previewType}, nil
		}
	}
	return Made{}, fmt.Errorf("%w of %d bytes", ErrTooLarge, maxBytes)
}
