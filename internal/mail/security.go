package mail

// Change is what a SecurityChange mail tells: a sentence.
type Change string

// The changes.
const (
	TOTPFactorAdded          Change = "An authenticator app was added as a second factor."
	TOTPFactorRemoved        Change = "An authenticator app was removed."
	RecoveryCodesRegenerated Change = "New recovery codes were made. The ones before no longer work."
	RecoveryCodeUsed         Change = "A recovery code was used to sign in. It no longer works."
	PasskeyAdded             Change = "A passkey was added. It can sign in by itself, and is a second factor."
	PasskeyRemoved           Change = "A passkey was removed."
	PasskeyClonedSuspected   Change = "A passkey was refused: its counter did not go on, which may mean that somebody has a copy of it. If you cannot explain that, remove it and add a new one."
	ExternalIdentityLinked   Change = "An account at an identity provider was linked. It can sign in."
	ExternalIdentityUnlinked Change = "An account at an identity provider was unlinked."
	APIKeyCreated            Change = "An API key was made in your name."
	APIKeyRotated            Change = "An API key of yours was given a new secret."
	RefreshTokenReused       Change = "An old token of a device or program that you had signed in was used a second time, as happens when somebody has a copy of it. That device or program can no longer use your account; sign in there again."
	NewDevice                Change = "Somebody signed in to your account from a browser or program that was not used before."
	AccountDisabled          Change = "An operator disabled your account."
	AccountEnabled           Change = "An operator enabled your account again."
	SignedOutByOperator      Change = "An operator ended all your sessions."
	SecondFactorsReset       Change = "An operator removed all second factors of your account, since their loss was reported."
	Impersonated             Change = "An operator signed in to your account in your name for a short time, without being able to change how you sign in."
)
