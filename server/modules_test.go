package server_test

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/store"
)

// TestEveryServiceIsMountedOnce compares the services that the modules mount with
// those that were generated, in whatever package: one that is forgotten is found as
// well as one that is mounted twice.
func TestEveryServiceIsMountedOnce(t *testing.T) {
	t.Parallel()
	want := map[string]int{}
	name := regexp.MustCompile(`(?m)^\t\w+ServiceName = "(logicspike\.[\w.]+)"$`)
	generated := os.DirFS("../gen/go")
	if err := fs.WalkDir(generated, "logicspike", func(file string, d fs.DirEntry, err error) error {
		if match, _ := path.Match("*.connect.go", d.Name()); err != nil || !match {
			return err
		}
		text, err := fs.ReadFile(generated, file)
		if err != nil {
			return err
		}
		found := name.FindAllSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("%s: no service was found in it", file)
		}
		for _, match := range found {
			want[string(match[1])]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	described := map[string]int{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if match, _ := path.Match("logicspike.*", string(file.Package())); match {
			for i := range file.Services().Len() {
				described[string(file.Services().Get(i).FullName())]++
			}
		}
		return true
	})
	if !maps.Equal(described, want) {
		t.Errorf("the program knows the services %v, generated are %v", slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(want)))
	}

	mounted := map[string]int{}
	for _, service := range server.Modules(server.ModuleOptions{Store: new(store.Store)}) {
		mounted[service.Name]++
		if at, handler := service.Handler(); at != "/"+service.Name+"/" || handler == nil {
			t.Errorf("the handler of %s is for %s", service.Name, at)
		}
	}
	for service, n := range want {
		if mounted[service] != n {
			t.Errorf("%s is mounted %d times, want %d", service, mounted[service], n)
		}
	}
	for service := range mounted {
		if want[service] == 0 {
			t.Errorf("%s is mounted, and no service that was generated", service)
		}
	}
	if len(want) < 22 {
		t.Errorf("only %d services were found", len(want))
	}
}
