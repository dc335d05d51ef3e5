package main

import (
	"fmt"
	"io"
	"text/template"
	"time"
)

// banner is what a person sees when the server is ready.
type banner struct {
	Version  string
	Took     time.Duration
	API      string // host:port
	Admin    string // host:port, or empty
	Console  bool   // whether the console is built into the program
	Mailbox  bool   // whether mail goes to the mailbox for development
	Database string
	DataDir  string
	Grpcurl  bool // whether grpcurl works: it needs reflection
}

var bannerText = template.Must(template.New("banner").Parse(`
LogicSpike Manager {{.Version}} is ready, after {{.Took}}.

  API       http://{{.API}}  (Connect, gRPC and gRPC-Web)
{{- if .Console}}
  Console   http://{{.API}}/
{{- else}}
  Console   not in this program; where Node is installed, make build puts it in
{{- end}}
{{- if .Mailbox}}
  Mailbox   http://{{.API}}/mailbox/  (all mail goes here)
{{- end}}
  Health    http://{{.API}}/healthz, http://{{.API}}/readyz
{{- if .Admin}}
  Admin     http://{{.Admin}}/metrics, http://{{.Admin}}/debug/pprof/
{{- end}}
  Database  {{.Database}}
  Data      {{.DataDir}}

Try it:
{{if .Grpcurl}}
  grpcurl -plaintext -d '{{.Request}}' \
    {{.API}} {{.Method}}
{{else}}
  curl -H 'Content-Type: application/json' -d '{{.Request}}' \
    http://{{.API}}/{{.Method}}
{{end}}
Ctrl-C ends it.

`))

// Method is the method to try.
func (banner) Method() string { return "logicspike.auth.v1.RegistrationService/Register" }

// Request is a request to it.
func (banner) Request() string {
	return `{"email": "ada@example.com", "password": "maple-lantern-quartz", "workspace_name": "Analytical Engines"}`
}

func (b banner) print(w io.Writer) error {
	b.Took = b.Took.Round(time.Millisecond)
	if err := bannerText.Execute(w, b); err != nil {
		return fmt.Errorf("print the banner: %w", err)
	}
	return nil
}
