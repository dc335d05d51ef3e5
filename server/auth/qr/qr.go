// Package qr draws QR codes (ISO/IEC 18004).
package qr

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"

	"github.com/boombuler/barcode/qr"
)

const (
	// Size is the width and height of a PNG in pixels, quiet zone included.
	Size = 256
	// quiet is the width of the empty border in modules: ISO/IEC 18004, 5.3.8.
	quiet = 4
)

// Code is a QR code: a square of dark and light modules.
type Code struct{ rows [][]bool }

// Encode returns the code of a text, with error correction level M, which can be read
// with 15 % of it damaged.
//
// Errors: when the text is longer than about 2300 bytes.
func Encode(text string) (Code, error) {
	drawn, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return Code{}, fmt.Errorf("draw a QR code: %w", err)
	}
	n := drawn.Bounds().Dx()
	rows := make([][]bool, n)
	for y := range rows {
		rows[y] = make([]bool, n)
		for x := range rows[y] {
			red, _, _, _ := drawn.At(x, y).RGBA()
			rows[y][x] = red == 0
		}
	}
	return Code{rows}, nil
}

// PNG returns the code as a PNG image, of Size by Size pixels.
func (c Code) PNG() ([]byte, error) {
	n := len(c.rows)
	scale := max(1, Size/(n+2*quiet))
	at := (Size - n*scale) / 2
	picture := image.NewPaletted(image.Rect(0, 0, Size, Size), color.Palette{color.White, color.Black})
	for y, row := range c.rows {
		for x, dark := range row {
			if !dark {
				continue
			}
			for dy := range scale {
				for dx := range scale {
					picture.SetColorIndex(at+x*scale+dx, at+y*scale+dy, 1)
				}
			}
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, picture)
	return b.Bytes(), err
}

// SVG returns the code as an SVG document.
func (c Code) SVG() string {
	n := len(c.rows)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[1]d" width="%[2]d" height="%[2]d" shape-rendering="crispEdges" role="img" aria-label="QR code">`,
		n+2*quiet, Size)
	fmt.Fprintf(&b, `<path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path fill="#000" d="`, n+2*quiet)
	for y, row := range c.rows {
		for x := 0; x < n; x++ {
			length := 0
			for x+length < n && row[x+length] {
				length++
			}
			if length > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, length, length)
				x += length
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String()
}
