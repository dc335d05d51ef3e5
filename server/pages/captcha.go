package pages

import (
	"fmt"
	"strings"
)

// Captcha is what people solve on the pages on which they may sign in, here and in the
// console.
type Captcha struct {
	// Provider is turnstile, hcaptcha or recaptcha.
	Provider string
	// SiteKey is the public key of the site at the provider.
	SiteKey string
}

// widget is how a page shows a provider's CAPTCHA. All of them have the same methods.
type widget struct {
	script string // its address; it calls captchaLoaded once it can be used
	object string // the global object that it makes
	// Where it loads from, in the terms of a Content-Security-Policy.
	scripts, frames, styles, calls string
}

// widgets are those of the providers, by name.
var widgets = map[string]widget{
	"turnstile": {
		script:  "https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit&onload=captchaLoaded",
		object:  "turnstile",
		scripts: "https://challenges.cloudflare.com",
		frames:  "https://challenges.cloudflare.com",
	},
	"hcaptcha": {
		script:  "https://js.hcaptcha.com/1/api.js?render=explicit&onload=captchaLoaded",
		object:  "hcaptcha",
		scripts: "https://hcaptcha.com https://*.hcaptcha.com",
		frames:  "https://hcaptcha.com https://*.hcaptcha.com",
		styles:  "https://hcaptcha.com https://*.hcaptcha.com",
		calls:   "https://hcaptcha.com https://*.hcaptcha.com",
	},
	"recaptcha": {
		script:  "https://www.google.com/recaptcha/api.js?render=explicit&onload=captchaLoaded",
		object:  "grecaptcha",
		scripts: "https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/",
		frames:  "https://www.google.com/recaptcha/ https://recaptcha.google.com/recaptcha/",
	},
}

func (c *Captcha) widget() widget {
	w, ok := widgets[c.Provider]
	if !ok {
		panic(fmt.Errorf("pages: the provider %q is unknown", c.Provider))
	}
	return w
}

// Script is the address of the provider's script.
func (c *Captcha) Script() string { return c.widget().script }

// Object is the global object that the script makes.
func (c *Captcha) Object() string { return c.widget().object }

// Policy returns the policy of a page that shows the CAPTCHA: it allows what the provider
// needs beside what the page's own policy allows.
func (c *Captcha) Policy(own string) string {
	w := c.widget()
	more := map[string]string{"script-src": w.scripts, "style-src": w.styles, "connect-src": w.calls}
	var all []string
	for directive := range strings.SplitSeq(own, "; ") {
		name, _, _ := strings.Cut(directive, " ")
		all = append(all, strings.TrimSpace(directive+" "+more[name]))
	}
	return strings.Join(append(all, "frame-src "+w.frames), "; ")
}
