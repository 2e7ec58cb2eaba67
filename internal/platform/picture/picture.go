// Package picture turns a picture that a stranger sends into small squares that are safe to show: it decodes within
// limits, and what goes out has been drawn anew, so that nothing but its pixels is left of it.
package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"

	"github.com/user-management-service/ums/internal/platform/fault"
)

const (
	maxSide   = 10_000
	maxPixels = 16 << 20 // some 100 MB while it is decoded
	maxScans  = 64       // of a progressive JPEG: each goes over all pixels again
	quality   = 85

	queuePerSlot = 8
)

// ErrUnreadable is the fault of what is no picture that can be shown (422): damaged, animated, too many pixels.
// The whole body is at fault, so its pointer is the empty one.
var ErrUnreadable = fault.As(fault.InvalidField("", "invalid_picture",
	"Send a PNG, JPEG or WebP picture that does not move, of at most 10,000 pixels a side and 16 megapixels."))

// ErrOverloaded is the fault of a full queue (503).
var ErrOverloaded = fault.New(fault.Unavailable, "overloaded", "Too many pictures at this moment; try again shortly.").WithRetryAfter(2 * time.Second)

// Square is one result.
type Square struct {
	MediaType string // image/jpeg, or image/png where the picture is transparent
	Content   []byte
}

// Maker makes squares, few at a time: decoding costs up to a second of a processor and a hundred megabytes.
type Maker struct {
	slots  chan struct{}
	queued atomic.Int64
}

// NewMaker returns a maker with a slot for every second processor.
func NewMaker() *Maker { return &Maker{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))} }

// Squares returns the middle of the picture in these sizes (pixels a side), the right way up, the largest first.
// The errors are ErrUnreadable, ErrOverloaded and the end of ctx.
func (m *Maker) Squares(ctx context.Context, data []byte, sizes ...int) ([]Square, error) {
	if err := m.acquire(ctx); err != nil {
		return nil, err
	}
	defer func() { <-m.slots }()
	src, turn, err := decode(data)
	if err != nil {
		return nil, ErrUnreadable.Because(err)
	}
	squares := make([]Square, len(sizes))
	from, area := src, middle(src.Bounds())
	for i, size := range sizes {
		small := image.NewNRGBA(image.Rect(0, 0, size, size))
		draw.CatmullRom.Scale(small, small.Bounds(), from, area, draw.Src, nil)
		from, area = small, small.Bounds() // the next one is made of this one, which is enough and much less
		if squares[i], err = encode(turned(small, turn)); err != nil {
			return nil, err
		}
	}
	return squares, nil
}

func (m *Maker) acquire(ctx context.Context) error {
	if m.queued.Add(1) > int64(cap(m.slots)*(1+queuePerSlot)) {
		m.queued.Add(-1)
		return ErrOverloaded
	}
	defer m.queued.Add(-1)
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to decode a picture: %w", ctx.Err())
	}
}

func middle(b image.Rectangle) image.Rectangle {
	side := min(b.Dx(), b.Dy())
	at := b.Min.Add(image.Pt((b.Dx()-side)/2, (b.Dy()-side)/2))
	return image.Rectangle{at, at.Add(image.Pt(side, side))}
}

func encode(img *image.NRGBA) (Square, error) {
	var b bytes.Buffer
	if img.Opaque() {
		err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality})
		return Square{"image/jpeg", b.Bytes()}, err
	}
	err := png.Encode(&b, img)
	return Square{"image/png", b.Bytes()}, err
}

var (
	errFormat = errors.New("no PNG, JPEG or WebP")
	errSize   = errors.New("too many pixels, or none")
	errMoves  = errors.New("animated")
	errScans  = errors.New("too many scans")
)

// decode reads a picture by what it is, whatever it was said to be. Its size is looked at before a pixel is made.
func decode(data []byte) (image.Image, orientation, error) {
	var size func(io.Reader) (image.Config, error)
	var read func(io.Reader) (image.Image, error)
	var exif []byte
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		chunks := pngChunks(data)
		if _, moves := chunks["acTL"]; moves {
			return nil, 0, errMoves
		}
		size, read, exif = png.DecodeConfig, png.Decode, chunks["eXIf"]
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		if bytes.Count(data, []byte("\xff\xda")) > maxScans {
			return nil, 0, errScans
		}
		size, read, exif = jpeg.DecodeConfig, jpeg.Decode, jpegExif(data)
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		chunks := webpChunks(data)
		if _, moves := chunks["ANIM"]; moves {
			return nil, 0, errMoves
		}
		size, read, exif = webp.DecodeConfig, webp.Decode, chunks["EXIF"]
	default:
		return nil, 0, errFormat
	}
	c, err := size(bytes.NewReader(data))
	if err != nil {
		return nil, 0, err
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxSide || c.Height > maxSide || c.Width*c.Height > maxPixels {
		return nil, 0, errSize
	}
	img, err := read(bytes.NewReader(data))
	if err != nil {
		return nil, 0, err
	}
	if b := img.Bounds(); b.Empty() || b.Dx()*b.Dy() > maxPixels { // what it said first, or it is no picture
		return nil, 0, errSize
	}
	return img, exifOrientation(exif), nil
}

// pngChunks returns the chunks by name, the first of each, up to the pixels' end.
func pngChunks(data []byte) map[string][]byte {
	chunks := map[string][]byte{}
	for rest := data[8:]; len(rest) >= 12; {
		n := int64(binary.BigEndian.Uint32(rest))
		if n > int64(len(rest)-12) {
			break
		}
		add(chunks, string(rest[4:8]), rest[8:8+n])
		rest = rest[12+n:]
	}
	return chunks
}

// webpChunks returns the chunks of the container by name, the first of each.
func webpChunks(data []byte) map[string][]byte {
	chunks := map[string][]byte{}
	for rest := data[12:]; len(rest) >= 8; {
		n := int64(binary.LittleEndian.Uint32(rest[4:]))
		if n > int64(len(rest)-8) {
			break
		}
		add(chunks, string(rest[:4]), rest[8:8+n])
		rest = rest[min(8+n+n%2, int64(len(rest))):]
	}
	return chunks
}

func add(chunks map[string][]byte, name string, content []byte) {
	if _, there := chunks[name]; !there {
		chunks[name] = content
	}
}
