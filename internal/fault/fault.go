// Package fault is the errors that a caller may see. Everything below the RPC
// layer reports an expected failure as a *Fault; server/rpc turns it into the
// protocol's error, and any other error into `internal` with a fixed text.
package fault

import (
	"errors"
	"maps"
	"time"
)

// Kind says how a call failed, in the terms of google.rpc.Code.
type Kind int

// The kinds.
const (
	Internal Kind = iota
	InvalidArgument
	NotFound
	AlreadyExists
	FailedPrecondition
	Aborted
	PermissionDenied
	Unauthenticated
	ResourceExhausted
	Unavailable
)

// Reason says why a call failed, for programs: a value of the proto enum
// logicspike.fault.v1.Reason without its prefix.
type Reason string

// The reasons; the proto describes each.
const (
	FieldInvalid             Reason = "FIELD_INVALID"
	PageTokenInvalid         Reason = "PAGE_TOKEN_INVALID"
	RequestIDReused          Reason = "REQUEST_ID_REUSED"
	Missing                  Reason = "NOT_FOUND"
	SessionRequired          Reason = "SESSION_REQUIRED"
	CredentialsInvalid       Reason = "CREDENTIALS_INVALID"
	ReauthenticationRequired Reason = "REAUTHENTICATION_REQUIRED"
	PermissionMissing        Reason = "PERMISSION_MISSING"
	CodeInvalid              Reason = "CODE_INVALID"
	RegistrationExpired      Reason = "REGISTRATION_EXPIRED"
	PasswordLength           Reason = "PASSWORD_LENGTH"
	PasswordCommon           Reason = "PASSWORD_COMMON"
	RateLimited              Reason = "RATE_LIMITED"
	Overloaded               Reason = "OVERLOADED"
	SlugTaken                Reason = "SLUG_TAKEN"
	ETagMismatch             Reason = "ETAG_MISMATCH"
	WorkspaceDeleted         Reason = "WORKSPACE_DELETED"
	WorkspaceNotDeleted      Reason = "WORKSPACE_NOT_DELETED"
	OwnerRequired            Reason = "OWNER_REQUIRED"
	EmailTaken               Reason = "EMAIL_TAKEN"
	InternalFailure          Reason = "INTERNAL"
	DatabaseUnavailable      Reason = "UNAVAILABLE"
	OriginForbidden          Reason = "ORIGIN_FORBIDDEN"
	RequestTooLarge          Reason = "REQUEST_TOO_LARGE"
	Conflict                 Reason = "CONFLICT"
	InvitationExpired        Reason = "INVITATION_EXPIRED"
	InvitationRevoked        Reason = "INVITATION_REVOKED"
	InvitationUsed           Reason = "INVITATION_USED"
	InvitationPending        Reason = "INVITATION_PENDING"
	EmailUnverified          Reason = "EMAIL_UNVERIFIED"
	EmailMismatch            Reason = "EMAIL_MISMATCH"
	AlreadyMember            Reason = "ALREADY_MEMBER"
	MembershipDeactivated    Reason = "MEMBERSHIP_DEACTIVATED"
	SeatsExhausted           Reason = "SEATS_EXHAUSTED"
	RoleNotGrantable         Reason = "ROLE_NOT_GRANTABLE"
	RoleNameTaken            Reason = "ROLE_NAME_TAKEN"
	RoleInUse                Reason = "ROLE_IN_USE"
	DomainTaken              Reason = "DOMAIN_TAKEN"
	DomainNotAllowed         Reason = "DOMAIN_NOT_ALLOWED"
	DomainNotVerified        Reason = "DOMAIN_NOT_VERIFIED"
	DomainRecordMissing      Reason = "DOMAIN_RECORD_MISSING"
	DNSUnavailable           Reason = "DNS_UNAVAILABLE"
	JoinRequestDecided       Reason = "JOIN_REQUEST_DECIDED"
	Duplicate                Reason = "DUPLICATE"
	MemberRemoved            Reason = "MEMBER_REMOVED"
	SecondFactorRequired     Reason = "SECOND_FACTOR_REQUIRED"
	SecondFactorInvalid      Reason = "SECOND_FACTOR_INVALID"
	FactorMissing            Reason = "FACTOR_MISSING"
	LastSignInMethod         Reason = "LAST_SIGN_IN_METHOD"
	ChallengeInvalid         Reason = "CHALLENGE_INVALID"
	PasskeyTaken             Reason = "PASSKEY_TAKEN"
	TooMany                  Reason = "TOO_MANY"
	ProviderUnknown          Reason = "PROVIDER_UNKNOWN"
	ProviderFailed           Reason = "PROVIDER_FAILED"
	IdentityTaken            Reason = "IDENTITY_TAKEN"
	IdentityNotLinked        Reason = "IDENTITY_NOT_LINKED"
	ReturnURLNotAllowed      Reason = "RETURN_URL_NOT_ALLOWED"
	AudienceNotAllowed       Reason = "AUDIENCE_NOT_ALLOWED"
	TokenInvalid             Reason = "TOKEN_INVALID"
	APIKeyNotAllowed         Reason = "API_KEY_NOT_ALLOWED"
	PermissionNotGrantable   Reason = "PERMISSION_NOT_GRANTABLE"
	OperatorRequired         Reason = "OPERATOR_REQUIRED"
	AccountDisabled          Reason = "ACCOUNT_DISABLED"
	ImpersonationNotAllowed  Reason = "IMPERSONATION_NOT_ALLOWED"
	CaptchaRequired          Reason = "CAPTCHA_REQUIRED"
	PasswordLeaked           Reason = "PASSWORD_LEAKED"
	PasswordHashUnsupported  Reason = "PASSWORD_HASH_UNSUPPORTED"
	ServiceAccountNameTaken  Reason = "SERVICE_ACCOUNT_NAME_TAKEN"
	CaptchaUnavailable       Reason = "CAPTCHA_UNAVAILABLE"
	TestClockOff             Reason = "TEST_CLOCK_OFF"

	SecondFactorRequiredByWorkspace Reason = "SECOND_FACTOR_REQUIRED_BY_WORKSPACE"
	PaymentRequired                 Reason = "PAYMENT_REQUIRED"
	SubscriptionState               Reason = "SUBSCRIPTION_STATE"
	PlanNotOffered                  Reason = "PLAN_NOT_OFFERED"
	SeatsInUse                      Reason = "SEATS_IN_USE"
	CurrencyMismatch                Reason = "CURRENCY_MISMATCH"
	SubscriptionUnpaid              Reason = "SUBSCRIPTION_UNPAID"
	SeatLimitExceeded               Reason = "SEAT_LIMIT_EXCEEDED"
	TrialUsed                       Reason = "TRIAL_USED"
	TrialNotOffered                 Reason = "TRIAL_NOT_OFFERED"
	InvoicePaid                     Reason = "INVOICE_PAID"
	InvoiceVoid                     Reason = "INVOICE_VOID"
	InvoiceOfProvider               Reason = "INVOICE_OF_PROVIDER"
	UsageEventConflict              Reason = "USAGE_EVENT_CONFLICT"
	UsageLimitReached               Reason = "USAGE_LIMIT_REACHED"
	SubscriptionPaused              Reason = "SUBSCRIPTION_PAUSED"

	PaymentProviderMissing     Reason = "PAYMENT_PROVIDER_MISSING"
	PaymentProviderUnavailable Reason = "PAYMENT_PROVIDER_UNAVAILABLE"
	PlanNotForSale             Reason = "PLAN_NOT_FOR_SALE"
	PaymentProviderInUse       Reason = "PAYMENT_PROVIDER_IN_USE"
)

// Fault is an expected failure. Its fields reach the caller, all but the cause.
type Fault struct {
	Kind    Kind
	Reason  Reason
	Message string // for a person, in English
	// Field is the path of the request field at fault, if there is one.
	Field string
	// Metadata is what a program may want to know beside the reason.
	Metadata map[string]string
	// RetryAfter is when a repeated call may succeed; 0 when unknown.
	RetryAfter time.Duration

	cause error
}

// New returns a fault.
func New(kind Kind, reason Reason, message string) *Fault {
	return &Fault{Kind: kind, Reason: reason, Message: message}
}

// Invalid returns the fault of a request field that does not keep its rule.
func Invalid(field, message string) *Fault {
	return &Fault{Kind: InvalidArgument, Reason: FieldInvalid, Message: field + ": " + message, Field: field}
}

// NotFoundFault returns the fault of a resource that does not exist, or that the
// caller may not know of. It is the same for every kind of resource and id.
func NotFoundFault() *Fault { return New(NotFound, Missing, "not found") }

// SecondFactorMissing returns the fault of who calls a workspace that requires a second
// factor, which their session has not proven, or their API key's user does not have.
func SecondFactorMissing() *Fault {
	return New(FailedPrecondition, SecondFactorRequiredByWorkspace,
		"the workspace requires a second factor: add one if your account has none; a session proves it by Reauthenticate")
}

// WithField returns a copy that names the request field at fault.
func (f *Fault) WithField(field string) *Fault {
	c := *f
	c.Field = field
	return &c
}

// WithMetadata returns a copy with one more entry of metadata.
func (f *Fault) WithMetadata(key, value string) *Fault {
	c := *f
	c.Metadata = maps.Clone(f.Metadata)
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	c.Metadata[key] = value
	return &c
}

// WithRetryAfter returns a copy that says when to try again.
func (f *Fault) WithRetryAfter(d time.Duration) *Fault {
	c := *f
	c.RetryAfter = d
	return &c
}

// WithCause returns a copy that wraps err, which only the log sees.
func (f *Fault) WithCause(err error) *Fault {
	c := *f
	c.cause = err
	return &c
}

// Error returns reason and message, and the cause if there is one.
func (f *Fault) Error() string {
	s := string(f.Reason) + ": " + f.Message
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.cause }

// Is reports whether target is a fault of the same kind and reason.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && t.Kind == f.Kind && t.Reason == f.Reason
}

// As returns the fault in err's chain, or nil.
func As(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// Has reports whether err is a fault with the reason.
func Has(err error, reason Reason) bool {
	f := As(err)
	return f != nil && f.Reason == reason
}
