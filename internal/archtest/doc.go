// Package archtest holds the tests of the repository as a whole: which package
// may import which, what every method of the API declares, and what no file may
// contain. It has no code for others.
package archtest
