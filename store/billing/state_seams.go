package billing

// Until helper SUBS' state.go is merged, which takes the place of this file.

// PastDue and Paused are the states of what is not paid.
const (
	PastDue State = "past_due"
	Paused  State = "paused"
)
