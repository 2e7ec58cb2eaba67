package picture

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// corners is a square with a colour in each quarter: red, green / blue, white.
func corners(side int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			img.SetNRGBA(x, y, [][]color.NRGBA{
				{{255, 0, 0, 255}, {0, 255, 0, 255}}, {{0, 0, 255, 255}, {255, 255, 255, 255}},
			}[2*y/side][2*x/side])
		}
	}
	return img
}

func jpegOf(t testing.TB, img image.Image, exif []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}))
	if exif == nil {
		return b.Bytes()
	}
	segment := append([]byte("Exif\x00\x00"), exif...)
	out := append([]byte{0xff, 0xd8, 0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(segment)+2))...)
	return append(append(out, segment...), b.Bytes()[2:]...)
}

func pngBytes(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

// exifWith is EXIF data with an orientation and a place that nobody shall learn.
func exifWith(order binary.AppendByteOrder, mark string, o uint16) []byte {
	b := []byte(mark)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, orientationTag)
	b = order.AppendUint16(b, 3)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, o)
	return append(b, "\x00\x00\x00\x00\x00\x00GPS 48.2082 16.3738"...)
}

// chunk inserts a chunk behind the header of a PNG.
func chunk(data []byte, name string, content []byte) []byte {
	const header = 8 + 25
	body := append([]byte(name), content...)
	c := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	c = binary.BigEndian.AppendUint32(append(c, body...), crc32.ChecksumIEEE(body))
	return append(append(bytes.Clone(data[:header]), c...), data[header:]...)
}

// quarters names the colours of a result's quarters.
func quarters(t *testing.T, s Square) string {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(s.Content))
	require.NoError(t, err)
	side := img.Bounds().Dx()
	name := ""
	for _, at := range []image.Point{{side / 4, side / 4}, {3 * side / 4, side / 4}, {side / 4, 3 * side / 4}, {3 * side / 4, 3 * side / 4}} {
		r, g, b, _ := img.At(at.X, at.Y).RGBA()
		switch {
		case r > 0xc000 && g > 0xc000 && b > 0xc000:
			name += "w"
		case r > 0xc000:
			name += "r"
		case g > 0xc000:
			name += "g"
		case b > 0xc000:
			name += "b"
		default:
			name += "?"
		}
	}
	return name
}

func TestTheRightWayUp(t *testing.T) {
	t.Parallel()
	m := NewMaker()
	for o, want := range map[uint16]string{0: "rgbw", 1: "rgbw", 2: "grwb", 3: "wbgr", 4: "bwrg", 5: "rbgw", 6: "brwg", 7: "wgbr", 8: "gwrb", 9: "rgbw"} {
		little, big := exifWith(binary.LittleEndian, "II*\x00", o), exifWith(binary.BigEndian, "MM\x00*", o)
		for name, data := range map[string][]byte{
			"jpeg, little-endian": jpegOf(t, corners(64), little), "jpeg, big-endian": jpegOf(t, corners(64), big),
			"png": chunk(pngBytes(t, corners(64)), "eXIf", big),
		} {
			squares, err := m.Squares(t.Context(), data, 32, 16)
			require.NoError(t, err)
			require.Len(t, squares, 2)
			for _, s := range squares {
				require.Equal(t, want, quarters(t, s), "%s %d", name, o)
				require.NotContains(t, string(s.Content), "GPS", "metadata is gone")
				require.NotContains(t, string(s.Content), "Exif")
			}
		}
	}
}

func TestSquares(t *testing.T) {
	t.Parallel()
	m := NewMaker()
	wide := image.NewNRGBA(image.Rect(0, 0, 300, 100))
	for y := range 100 {
		for x := range 300 {
			c := color.NRGBA{R: 255, A: 255}
			if x >= 100 && x < 200 {
				c = color.NRGBA{G: 255, A: 255}
			}
			wide.SetNRGBA(x, y, c)
		}
	}
	squares, err := m.Squares(t.Context(), pngBytes(t, wide), 512, 128)
	require.NoError(t, err)
	require.Equal(t, "gggg", quarters(t, squares[0]), "the middle")
	require.Equal(t, "image/jpeg", squares[0].MediaType)
	for i, side := range []int{512, 128} {
		c, _, err := image.DecodeConfig(bytes.NewReader(squares[i].Content))
		require.NoError(t, err)
		require.Equal(t, [2]int{side, side}, [2]int{c.Width, c.Height})
	}

	clear := corners(50)
	clear.SetNRGBA(25, 25, color.NRGBA{})
	squares, err = m.Squares(t.Context(), pngBytes(t, clear), 64)
	require.NoError(t, err)
	require.Equal(t, "image/png", squares[0].MediaType, "what is transparent stays so")

	lossless, err := base64.StdEncoding.DecodeString("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
	require.NoError(t, err)
	squares, err = m.Squares(t.Context(), lossless, 8)
	require.NoError(t, err, "one pixel of WebP")
	require.NotEmpty(t, squares[0].Content)
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	m := NewMaker()
	small := pngBytes(t, corners(8))
	bomb := bytes.Clone(small) // says that it has 40,000 × 40,000 pixels
	binary.BigEndian.PutUint32(bomb[16:], 40_000)
	binary.BigEndian.PutUint32(bomb[20:], 40_000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	photo := jpegOf(t, corners(8), nil)
	scans := append(bytes.Clone(photo[:len(photo)-2]), bytes.Repeat([]byte{0xff, 0xda, 0, 2}, 100)...)
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "gif": []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "bomb": bomb, "scans": scans,
		"moving png": chunk(small, "acTL", make([]byte, 8)), "half a png": small[:40], "half a jpeg": photo[:60],
		"moving webp": []byte("RIFF\x26\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x07\x00\x00\x07\x00\x00ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		"empty webp":  []byte("RIFF\x04\x00\x00\x00WEBP\x00"),
	} {
		_, err := m.Squares(t.Context(), data, 8)
		require.ErrorIs(t, err, ErrUnreadable, name)
	}
	_, err := m.Squares(t.Context(), jpegOf(t, corners(8), []byte("II*\x00\xff\xff\xff\xff")), 8)
	require.NoError(t, err, "damaged metadata is no reason")
}

func TestFewAtATime(t *testing.T) {
	t.Parallel()
	m := NewMaker()
	for range cap(m.slots) {
		m.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	most := cap(m.slots) * (1 + queuePerSlot)
	for range most {
		go func() {
			_, err := m.Squares(ctx, nil, 8)
			done <- err
		}()
	}
	require.Eventually(t, func() bool { return int(m.queued.Load()) == most }, 10*time.Second, time.Millisecond)
	_, err := m.Squares(t.Context(), nil, 8)
	require.ErrorIs(t, err, ErrOverloaded)
	cancel()
	for range most {
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

func FuzzSquares(f *testing.F) {
	f.Add(pngBytes(f, corners(4)))
	f.Add(jpegOf(f, corners(4), exifWith(binary.LittleEndian, "II*\x00", 6)))
	f.Add([]byte("RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff"))
	m := NewMaker()
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := m.Squares(t.Context(), data, 8); err != nil {
			require.ErrorIs(t, err, ErrUnreadable)
		}
	})
}
