package mail

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	"net/url"
	"strings"
	texttemplate "text/template"
	"time"
)

//go:embed templates
var templateFiles embed.FS

// spec says what a template needs and where its link leads.
type spec struct {
	names []string // chosen by people: cleaned, and never a link
	plain []string // checked elsewhere: only cleaned
	times []string // shown as a date
	link  string   // page that a token is handed to; needs code and token
	code  bool     // a code without a link; needs code
}

var expires = []string{"expire_time"}

var specs = map[Template]spec{
	RegistrationCode:     {names: []string{"workspace"}, times: expires, link: "verify-registration"},
	AccountExists:        {},
	EmailChangeCode:      {names: []string{"name"}, times: expires, link: "confirm-email"},
	EmailChangeTaken:     {},
	EmailChanged:         {names: []string{"name"}, plain: []string{"email"}},
	PasswordResetCode:    {names: []string{"name"}, times: expires, link: "reset-password"},
	EmailSignInCode:      {names: []string{"name", "agent"}, plain: []string{"address"}, times: expires, link: "sign-in-by-email"},
	ConfirmationCode:     {names: []string{"name", "agent"}, plain: []string{"address"}, times: expires, code: true},
	PasswordChanged:      {names: []string{"name"}, times: []string{"change_time"}},
	SecurityChange:       {names: []string{"name", "agent", "reason"}, plain: []string{"change", "address"}, times: []string{"change_time"}},
	WorkspaceDeleted:     {names: []string{"workspace"}, times: []string{"purge_time"}},
	AccountEnding:        {names: []string{"workspace"}, times: []string{"purge_time"}},
	WorkspaceUndeleted:   {names: []string{"workspace"}},
	SecondFactorRequired: {names: []string{"workspace"}},
	TrialEnding:          {names: []string{"workspace", "plan"}, times: []string{"end_time"}},
	SubscriptionChanged:  {names: []string{"workspace", "plan", "previous_plan"}, times: []string{"trial_end_time"}},
	SubscriptionCanceled: {names: []string{"workspace", "plan"}, times: []string{"end_time"}},
	PaymentOverdue:       {names: []string{"workspace"}, times: []string{"pause_time"}},
	SubscriptionPaused:   {names: []string{"workspace", "plan"}},
	AccountDeleted:       {names: []string{"name"}},
	Invitation:           {names: []string{"workspace", "inviter", "role"}, times: []string{"expire_time", "code_expire_time"}, link: "accept-invitation"},
	InvitationRenewal:    {names: []string{"workspace"}, plain: []string{"email"}},
	JoinRequested:        {names: []string{"workspace", "name", "message"}, plain: []string{"email"}},
	JoinApproved:         {names: []string{"workspace", "name"}},
	InvoiceIssued:        {names: []string{"workspace"}, plain: []string{"number", "total"}, times: []string{"due_time"}},
	InvoicePaid:          {names: []string{"workspace"}, plain: []string{"number", "total"}, times: []string{"paid_time"}},
}

// Renderer makes mails from messages. It may be used by several goroutines at
// once.
type Renderer struct {
	public  *url.URL
	product string
	text    map[Template]*texttemplate.Template
	html    map[Template]*htmltemplate.Template
}

// NewRenderer returns a renderer whose links all begin with publicURL, of which
// scheme, host and path count, and whose mails speak for the product of the
// given name. It panics if a template is broken, which a test rules out.
func NewRenderer(publicURL *url.URL, productName string) *Renderer {
	r := &Renderer{
		public:  &url.URL{Scheme: publicURL.Scheme, Host: publicURL.Host, Path: publicURL.Path},
		product: cleanLine(productName),
		text:    make(map[Template]*texttemplate.Template),
		html:    make(map[Template]*htmltemplate.Template),
	}
	for name := range specs {
		file := "templates/" + string(name)
		r.text[name] = texttemplate.Must(texttemplate.New("layout.txt").Option("missingkey=error").
			ParseFS(templateFiles, "templates/layout.txt", file+".txt"))
		r.html[name] = htmltemplate.Must(htmltemplate.New("layout.html").Option("missingkey=error").
			ParseFS(templateFiles, "templates/layout.html", file+".html"))
	}
	return r
}

// Render makes the mail. It fails on an unknown template, on a value that is
// missing (see [Template]) and on a code or time that is none. Errors contain no
// values.
//
// A token appears only in the fragment of the link, which a browser does not
// send to the server: opening the link uses nothing up.
func (r *Renderer) Render(m Message) (Rendered, error) {
	view, err := r.view(m)
	if err != nil {
		return Rendered{}, fmt.Errorf("mail %s: %w", m.Template, err)
	}
	var subject, text, html bytes.Buffer
	if err := r.text[m.Template].ExecuteTemplate(&subject, "subject", view); err != nil {
		return Rendered{}, err
	}
	view["subject"] = cleanLine(subject.String())
	if err := r.text[m.Template].Execute(&text, view); err != nil {
		return Rendered{}, err
	}
	if err := r.html[m.Template].Execute(&html, view); err != nil {
		return Rendered{}, err
	}
	return Rendered{To: m.To, Subject: view["subject"], Text: text.String(), HTML: html.String()}, nil
}

// view collects what the templates show.
func (r *Renderer) view(m Message) (map[string]string, error) {
	s, ok := specs[m.Template]
	if !ok {
		return nil, fmt.Errorf("no such template")
	}
	view := map[string]string{"product": r.product, "home": r.public.String()}
	for _, kind := range []struct {
		keys []string
		show func(string) (string, error)
	}{{s.names, noError(cleanName)}, {s.plain, noError(cleanLine)}, {s.times, showTime}} {
		for _, key := range kind.keys {
			value, ok := m.Data[key]
			if !ok {
				return nil, fmt.Errorf("the value %s is missing", key)
			}
			shown, err := kind.show(value)
			if err != nil {
				return nil, fmt.Errorf("the value %s is not valid", key)
			}
			view[key] = shown
		}
	}
	if s.link == "" && !s.code {
		return view, nil
	}
	return view, r.addCode(view, s.link, m.Data)
}

func noError(show func(string) string) func(string) (string, error) {
	return func(s string) (string, error) { return show(s), nil }
}

// addCode adds the code, also in two groups, and the link that carries the token to
// a page; no link for the page "".
func (r *Renderer) addCode(view map[string]string, page string, data map[string]string) error {
	code, token := data["code"], data["token"]
	if code == "" || strings.Trim(code, "0123456789") != "" {
		return fmt.Errorf("the value code is missing or not made of digits")
	}
	half := len(code) / 2
	view["code"], view["code_start"], view["code_end"] = code, code[:half], code[half:]
	if page == "" {
		return nil
	}
	if token == "" {
		return fmt.Errorf("the value token is missing")
	}
	link := r.public.JoinPath(page)
	view["link"] = link.String() + "#token=" + url.QueryEscape(token)
	return nil
}

// showTime writes a time for people everywhere; an empty one stays empty.
func showTime(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return "", err
	}
	return t.UTC().Format("2 January 2006, 15:04") + " UTC", nil
}
