package config

import "github.com/alecthomas/kong"

// Defaults returns the settings when nobody sets any. It does not look at the
// environment.
func Defaults() Settings {
	var s Settings
	parser, err := kong.New(&s, kong.Exit(func(int) {}))
	if err != nil {
		panic(err) // the tags of Settings are wrong
	}
	for _, flag := range parser.Model.Flags {
		if !flag.HasDefault || !flag.Target.CanSet() {
			continue
		}
		token := kong.Token{Type: kong.FlagValueToken, Value: flag.Default}
		if err := flag.Parse(kong.ScanFromTokens(token), flag.Target); err != nil {
			panic(err) // the tags of Settings are wrong
		}
	}
	return s
}
