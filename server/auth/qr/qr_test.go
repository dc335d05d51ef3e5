package qr

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// TestCodesCanBeRead reads both forms with another library than the one that draws.
func TestCodesCanBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a",
		"otpauth://totp/Acme%20%26%20Co:ann%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%26%20Co&algorithm=SHA1&digits=6&period=30",
		"otpauth://totp/" + strings.Repeat("%C3%84", 100) + ":" + strings.Repeat("a", 254),
	} {
		code, err := Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		data, err := code.PNG()
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(data))
		if err != nil || picture.Bounds() != image.Rect(0, 0, 256, 256) {
			t.Fatalf("a picture of %v: %v", picture.Bounds(), err)
		}
		if got := read(t, picture); got != text {
			t.Errorf("the PNG reads %q, want %q", got, text)
		}
		if got := read(t, raster(t, code.SVG())); got != text {
			t.Errorf("the SVG reads %q, want %q", got, text)
		}
	}
	if _, err := Encode(strings.Repeat("a", 4000)); err == nil {
		t.Error("a text that is too long was drawn")
	}
}

func read(t *testing.T, picture image.Image) string {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatal(err)
	}
	return result.GetText()
}

var run = regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`)

// raster draws an SVG of this package, whose second path are runs of dark modules.
func raster(t *testing.T, svg string) image.Image {
	t.Helper()
	var document struct {
		XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
		ViewBox string   `xml:"viewBox,attr"`
		Paths   []struct {
			D    string `xml:"d,attr"`
			Fill string `xml:"fill,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal([]byte(svg), &document); err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(document.ViewBox, "0 0 %d", &n); err != nil || len(document.Paths) != 2 || document.Paths[1].Fill != "#000" {
		t.Fatalf("the document %s: %v", svg, err)
	}
	dark := document.Paths[1].D
	if rest := run.ReplaceAllString(dark, ""); rest != "" {
		t.Fatalf("the path has %q", rest)
	}
	const scale = 3
	picture := image.NewGray(image.Rect(0, 0, n*scale, n*scale))
	for i := range picture.Pix {
		picture.Pix[i] = 255
	}
	for _, match := range run.FindAllStringSubmatch(dark, -1) {
		var v [4]int
		for i := range v {
			v[i], _ = strconv.Atoi(match[i+1])
		}
		if v[2] != v[3] {
			t.Fatalf("the run %q is not closed", match[0])
		}
		for x := v[0] * scale; x < (v[0]+v[2])*scale; x++ {
			for y := v[1] * scale; y < (v[1]+1)*scale; y++ {
				picture.SetGray(x, y, color.Gray{})
			}
		}
	}
	return picture
}
