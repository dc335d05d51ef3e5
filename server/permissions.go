package server

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/server/rpc"
)

// Permissions returns the permissions that the rules of the API name, and the one
// among them that inviting people asks for. The protos are the only place where a
// permission is written.
//
// Errors: when a method has no sound rule.
func Permissions() (all authz.Catalog, invite authz.Permission, err error) {
	var names []string
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "logicspike.") {
			for i := range f.Services().Len() {
				names = append(names, string(f.Services().Get(i).FullName()))
			}
		}
		return true
	})
	rules, err := rpc.Compile(names...)
	if err != nil {
		return all, invite, err
	}
	invite, ok := rules.Permission(teamv1connect.InvitationServiceCreateInvitationProcedure)
	if !ok {
		return all, invite, fmt.Errorf("%s asks for no permission", teamv1connect.InvitationServiceCreateInvitationProcedure)
	}
	return authz.NewCatalog(rules.Permissions()), invite, nil
}
