// Package bench measures how fast the product is, and prints it beside what
// bounds it: absolute times mean little. `make bench` runs it.
//
// Both sides of a ratio are measured in turns in one run, on the same machine
// under the same load; what is printed is the turn with the median ratio.
package bench
