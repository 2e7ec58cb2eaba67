package picture

import (
	"bytes"
	"encoding/binary"
	"image"
)

// orientation says how the camera was held: 1 to 8 of EXIF's tag 0x0112; everything else is 1.
type orientation uint16

const orientationTag = 0x0112

// jpegExif returns the EXIF data of a JPEG, nil when it has none.
func jpegExif(data []byte) []byte {
	for rest := data[2:]; len(rest) >= 4 && rest[0] == 0xff && rest[1] != 0xda; {
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if n < 2 || n > len(rest)-2 {
			return nil
		}
		if segment := rest[4 : 2+n]; rest[1] == 0xe1 && bytes.HasPrefix(segment, []byte("Exif\x00\x00")) {
			return segment[6:]
		}
		rest = rest[2+n:]
	}
	return nil
}

// exifOrientation finds the orientation in the first directory of EXIF data, which has the form of TIFF.
func exifOrientation(exif []byte) orientation {
	exif = bytes.TrimPrefix(exif, []byte("Exif\x00\x00")) // some write it into WebP, too
	if len(exif) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(exif[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := int64(order.Uint32(exif[4:]))
	if at+2 > int64(len(exif)) {
		return 1
	}
	n := int(order.Uint16(exif[at:]))
	for entry := exif[at+2:]; n > 0 && len(entry) >= 12; n, entry = n-1, entry[12:] {
		if order.Uint16(entry) == orientationTag {
			if o := order.Uint16(entry[8:]); o >= 1 && o <= 8 {
				return orientation(o)
			}
			return 1
		}
	}
	return 1
}

// turned returns a square as it is to be seen.
func turned(src *image.NRGBA, o orientation) *image.NRGBA {
	if o <= 1 {
		return src
	}
	last := src.Bounds().Dx() - 1
	dst := image.NewNRGBA(src.Bounds())
	for y := range last + 1 {
		for x := range last + 1 {
			var fx, fy int
			switch o {
			case 2: // mirrored
				fx, fy = last-x, y
			case 3: // upside down
				fx, fy = last-x, last-y
			case 4:
				fx, fy = x, last-y
			case 5:
				fx, fy = y, x
			case 6: // its top is on the right
				fx, fy = y, last-x
			case 7:
				fx, fy = last-y, last-x
			default: // 8: its top is on the left
				fx, fy = last-y, x
			}
			dst.SetNRGBA(x, y, src.NRGBAAt(fx, fy))
		}
	}
	return dst
}
