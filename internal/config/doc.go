// Package config is the settings of the program: what they are called, what
// they mean, what they are when nobody sets them, and which values are refused.
//
// Every setting is a flag and an environment variable; the flag wins. The
// variable's name is MANAGER_ and the flag's name in capitals, with _ for -.
package config
