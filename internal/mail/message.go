package mail

// Template names a kind of mail. The comment of each says which values its
// message needs; a value that is not listed is ignored.
//
// Values are plain text of any origin, cleaned by the renderer. Times are in the
// format of RFC 3339. A code is made of digits only.
type Template string

const (
	// RegistrationCode asks the owner of an address to confirm that they want
	// to register. Values: workspace (that they found or join), code, token,
	// expire_time.
	RegistrationCode Template = "registration_code"

	// AccountExists tells the owner of an account that somebody tried to
	// register with their address. No values: the mail is sent without looking
	// anything up, so that it takes no longer than RegistrationCode.
	AccountExists Template = "account_exists"

	// EmailChangeCode asks the owner of an address, which a user wants to use
	// from now on, for confirmation. Values: name (of the user), code, token,
	// expire_time.
	EmailChangeCode Template = "email_change_code"

	// EmailChangeTaken tells the owner of an account that somebody tried to use
	// their address for another account. No values.
	EmailChangeTaken Template = "email_change_taken"

	// EmailChanged tells a user, at the old address, that there is a new one.
	// Values: name, email (the new address).
	EmailChanged Template = "email_changed"

	// PasswordResetCode lets a user choose a new password. Values: name, code,
	// token, expire_time.
	PasswordResetCode Template = "password_reset_code"

	// EmailSignInCode lets a user sign in. Values: name, code, token, expire_time,
	// address and agent (of the client that asked; either may be empty).
	EmailSignInCode Template = "email_sign_in_code"

	// ConfirmationCode lets a user prove again who they are. Values: name, code,
	// expire_time, address and agent (of the client that asked; either may be empty).
	ConfirmationCode Template = "confirmation_code"

	// PasswordChanged tells a user that the password is a new one. Values:
	// name, change_time.
	PasswordChanged Template = "password_changed"

	// SecurityChange tells a user that something changed of how their account is
	// protected. Values: name, change (a Change), change_time, address and agent (of
	// the client; empty when nobody called), reason (an operator's; empty for none).
	SecurityChange Template = "security_change"

	// WorkspaceDeleted tells a member, whose account stays, that the workspace was
	// deleted. Values: workspace (its name), purge_time (empty if it was purged).
	WorkspaceDeleted Template = "workspace_deleted"

	// AccountEnding tells a member of a workspace that was deleted, who belongs to no
	// other one, that their account will be deleted with it, and how to keep it. Values:
	// workspace, purge_time (empty if the account is gone).
	AccountEnding Template = "account_ending"

	// WorkspaceUndeleted tells who was told by one of these that the workspace was
	// brought back. Values: workspace.
	WorkspaceUndeleted Template = "workspace_undeleted"

	// SecondFactorRequired tells a member that the workspace requires a second factor from
	// now on. Values: workspace.
	SecondFactorRequired Template = "second_factor_required"

	// TrialEnding tells an owner that the trial of the workspace's plan ends soon. Values:
	// workspace, plan (what it is called), end_time.
	TrialEnding Template = "trial_ending"

	// SubscriptionChanged tells an owner that the workspace has another plan. Values:
	// workspace, plan, previous_plan, trial_end_time (empty if it is not tried).
	SubscriptionChanged Template = "subscription_changed"

	// SubscriptionCanceled tells an owner that the workspace's plan was canceled. Values:
	// workspace, plan, end_time (empty if it has ended).
	SubscriptionCanceled Template = "subscription_canceled"

	// PaymentOverdue tells an owner that an invoice is overdue. Values: workspace,
	// pause_time (until when it is to be paid).
	PaymentOverdue Template = "payment_overdue"

	// SubscriptionPaused tells an owner that the workspace's plan is paused, since nobody
	// has paid. Values: workspace, plan.
	SubscriptionPaused Template = "subscription_paused"

	// AccountDeleted tells a person that the account is gone. Values: name.
	AccountDeleted Template = "account_deleted"

	// Invitation invites a person to a workspace. Values: workspace, inviter (what
	// the inviter is called), role (its name), code, token, expire_time,
	// code_expire_time.
	Invitation Template = "invitation"

	// InvitationRenewal tells who invited somebody, whose invitation can no longer
	// be used, that they ask for a new one. Values: workspace, email (the invited
	// address).
	InvitationRenewal Template = "invitation_renewal"

	// JoinRequested tells an owner that somebody asks to join the workspace.
	// Values: workspace, name, email (of who asks), message (empty if there is none).
	JoinRequested Template = "join_requested"

	// JoinApproved tells who asked to join a workspace that they are a member now.
	// Values: workspace, name.
	JoinApproved Template = "join_approved"

	// InvoiceIssued tells an owner that the workspace is to pay an invoice. Values:
	// workspace, number, total (with its currency), due_time.
	InvoiceIssued Template = "invoice_issued"

	// InvoicePaid tells an owner that an invoice was paid. Values: workspace, number,
	// total (with its currency), paid_time.
	InvoicePaid Template = "invoice_paid"
)

// Message is a mail that is to be sent.
type Message struct {
	Template Template          `json:"template"`
	To       string            `json:"to"`
	Data     map[string]string `json:"data,omitempty"`
}

// Rendered is a mail that is ready to be delivered.
type Rendered struct {
	To      string // one address, without a display name
	Subject string // one line
	Text    string
	HTML    string
}
