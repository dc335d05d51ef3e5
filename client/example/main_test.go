package main

import (
	"testing"

	"github.com/logicspike/manager/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestTheTourRuns(t *testing.T) {
	if err := tour(t.Context(), testkit.New(t, testkit.Options{}).URL); err != nil {
		t.Fatal(err)
	}
}
