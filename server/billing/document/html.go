package document

import (
	"bytes"
	_ "embed"
	"html/template"

	"github.com/logicspike/manager/store/billing"
)

//go:embed invoice.html
var page string

var pageTemplate = template.Must(template.New("invoice").Option("missingkey=error").Parse(page))

// HTML returns an invoice as a page of its own, without a script and without anything
// that would have to be fetched.
func HTML(i *billing.Invoice) ([]byte, error) {
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, contentOf(i))
	return out.Bytes(), err
}
