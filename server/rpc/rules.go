package rpc

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	"github.com/logicspike/manager/internal/authz"
)

// Rules is who may call which method: the `rule` options of the methods of some
// services. It does not change once compiled.
type Rules struct {
	methods     map[string]*method // by procedure, as in "/package.Service/Method"
	permissions []authz.Permission
}

type caller int

const (
	public caller = iota + 1
	authenticated
	member
	operator
)

// method is one method's rule, and what is known of its request beforehand.
type method struct {
	procedure string
	request   protoreflect.MessageDescriptor
	text      *textFields // the request's strings; nil when it has none
	caller    caller
	recent    bool // whether the caller must have authenticated recently
	session   bool // of the caller `public`: whether a session is looked at if there is one
	human     bool // of the caller `public`: whether a person must call, where the server asks for that
	pending   bool // of the callers `public` and `authenticated`: whether the session may still owe its second factor

	// Of the caller `member`:
	permission   *authz.Permission
	field        protoreflect.FieldDescriptor // holds the workspace's id
	optional     bool                         // whether it may be empty
	allowDeleted bool
	usersOnly    bool // whether no API key may call

	maxBytes     int  // of the request, decompressed
	impersonable bool // whether an operator may call in a user's name
	streams      bool // whether the request is a stream
}

// Compile reads the rules of all methods of the services, which the program must
// have linked in. It fails, naming the method, when a service is unknown or a
// method streams answers, streams requests of others than operators and signed-in
// users, has no rule, or has one that is not complete and sound.
func Compile(services ...string) (*Rules, error) {
	return compile(protoregistry.GlobalFiles, services)
}

type files interface {
	FindDescriptorByName(protoreflect.FullName) (protoreflect.Descriptor, error)
}

func compile(files files, services []string) (*Rules, error) {
	rules := &Rules{methods: map[string]*method{}}
	permissions := map[string]*authz.Permission{}
	texts := map[protoreflect.FullName]*textFields{}
	var problems []error
	for _, name := range services {
		descriptor, err := files.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		service, ok := descriptor.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, fmt.Errorf("%s is not a service", name)
		}
		for i := range service.Methods().Len() {
			descriptor := service.Methods().Get(i)
			m, err := compileMethod(descriptor, permissions)
			if err != nil {
				problems = append(problems, fmt.Errorf("method %s: %w", descriptor.FullName(), err))
				continue
			}
			m.text = textFieldsOf(m.request, texts)
			rules.methods[m.procedure] = m
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	for _, p := range permissions {
		rules.permissions = append(rules.permissions, *p)
	}
	slices.SortFunc(rules.permissions, func(a, b authz.Permission) int { return cmp.Compare(a.Name, b.Name) })
	return rules, nil
}

func compileMethod(d protoreflect.MethodDescriptor, permissions map[string]*authz.Permission) (*method, error) {
	if d.IsStreamingServer() {
		return nil, errors.New("methods that stream answers are not supported")
	}
	if !proto.HasExtension(d.Options(), authzv1.E_Rule) {
		return nil, errors.New("it has no rule")
	}
	rule := proto.GetExtension(d.Options(), authzv1.E_Rule).(*authzv1.Rule)
	m := &method{
		procedure: fmt.Sprintf("/%s/%s", d.Parent().FullName(), d.Name()),
		request:   d.Input(),
		recent:    rule.GetRecentAuthentication(),
		streams:   d.IsStreamingClient(),
	}
	switch c := rule.GetCaller().(type) {
	case *authzv1.Rule_Public:
		m.caller, m.session, m.human, m.pending = public, c.Public.GetSession(), c.Public.GetHuman(), c.Public.GetSecondFactorPending()
		if m.recent {
			return nil, errors.New("a public method cannot ask for recent authentication")
		}
	case *authzv1.Rule_Authenticated:
		m.caller, m.pending = authenticated, c.Authenticated.GetSecondFactorPending()
	case *authzv1.Rule_Workspace:
		m.caller = member
		if m.streams {
			return nil, errNoStream
		}
		if err := m.compileWorkspace(c.Workspace, permissions); err != nil {
			return nil, err
		}
	case *authzv1.Rule_Operator:
		m.caller = operator
	default:
		return nil, errors.New("its rule names no caller")
	}
	if m.streams && m.caller == public {
		return nil, errNoStream
	}
	if err := m.compileSize(rule.GetMaxRequestBytes()); err != nil {
		return nil, err
	}
	return m, m.compileImpersonation(d, rule)
}

// errNoStream refuses a rule that cannot be kept before the first message: that it
// is of a workspace the request would tell, and who is unknown is to send no stream.
var errNoStream = errors.New("only methods for operators or any signed-in user may stream requests")

// compileSize takes over how large a request may be, 0 for the default.
func (m *method) compileSize(declared uint32) error {
	m.maxBytes = MaxRequestBytes
	switch {
	case declared == 0:
		return nil
	case declared < MaxRequestBytes || declared > maxDeclaredBytes:
		return fmt.Errorf("its rule asks for requests of %d bytes, which is not from %d to %d", declared, MaxRequestBytes, maxDeclaredBytes)
	case m.caller == public:
		return errors.New("a public method cannot ask for larger requests")
	case m.streams:
		return errors.New("a method that streams requests cannot ask for larger ones")
	}
	m.maxBytes = int(declared)
	return nil
}

func (m *method) compileWorkspace(w *authzv1.Workspace, permissions map[string]*authz.Permission) error {
	p := authz.Permission{Name: w.GetPermission(), Description: w.GetDescription(), LeastRole: roleOf(w.GetLeastRole())}
	switch {
	case p.Name == "":
		return errors.New("its rule names no permission")
	case p.Description == "":
		return fmt.Errorf("permission %s has no description", p.Name)
	case p.LeastRole == "":
		return fmt.Errorf("permission %s has no least role", p.Name)
	}
	m.field = m.request.Fields().ByName(protoreflect.Name(w.GetField()))
	if m.field == nil {
		return fmt.Errorf("its rule names the field %q, which %s does not have", w.GetField(), m.request.FullName())
	}
	if m.field.Kind() != protoreflect.StringKind || m.field.IsList() {
		return fmt.Errorf("its rule names the field %q, which is not a string", w.GetField())
	}
	if known, ok := permissions[p.Name]; !ok {
		permissions[p.Name] = &p
	} else if *known != p {
		return fmt.Errorf("permission %s has another description or least role elsewhere", p.Name)
	}
	m.permission = permissions[p.Name]
	m.optional, m.allowDeleted, m.usersOnly = w.GetOptional(), w.GetAllowDeleted(), w.GetUsersOnly()
	return nil
}

func roleOf(r authzv1.Role) authz.Role {
	switch r {
	case authzv1.Role_ROLE_VIEWER:
		return authz.Viewer
	case authzv1.Role_ROLE_MEMBER:
		return authz.Member
	case authzv1.Role_ROLE_ADMIN:
		return authz.Admin
	case authzv1.Role_ROLE_OWNER:
		return authz.Owner
	}
	return ""
}

// Permissions returns all permissions that the rules name, sorted by name.
func (r *Rules) Permissions() []authz.Permission { return slices.Clone(r.permissions) }

// Permission returns the permission that a procedure asks for, and whether it asks
// for one.
func (r *Rules) Permission(procedure string) (authz.Permission, bool) {
	m := r.methods[procedure]
	if m == nil || m.permission == nil {
		return authz.Permission{}, false
	}
	return *m.permission, true
}

// Streams reports whether the request of a procedure is a stream.
func (r *Rules) Streams(procedure string) bool {
	m := r.methods[procedure]
	return m != nil && m.streams
}

// maxBytes returns how large the request of a procedure may be.
func (r *Rules) maxBytes(procedure string) int {
	if m := r.methods[procedure]; m != nil {
		return m.maxBytes
	}
	return MaxRequestBytes
}

// Procedures returns the procedures that the rules cover, as in
// "/package.Service/Method", sorted.
func (r *Rules) Procedures() []string { return slices.Sorted(maps.Keys(r.methods)) }
