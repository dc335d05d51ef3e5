package payments

import (
	"errors"
	"io"
	"net/http"
)

// WebhookPath is where the provider tells what happens.
const WebhookPath = "/webhooks/stripe"

// maxWebhook is how many bytes an event may have.
const maxWebhook = 512 << 10

// ServeHTTP takes an event of the provider: it keeps it, and leaves the rest to a job. An
// event without the provider's signature is refused.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		http.Error(w, "the event is too large", http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "the event cannot be read", http.StatusBadRequest)
		return
	}
	event, err := s.Provider.Event(body, r.Header.Get("Stripe-Signature"))
	if err != nil {
		s.Logger.WarnContext(r.Context(), "an event that is not the payment provider's was refused", "error", err)
		http.Error(w, "the event is not signed as it should be", http.StatusBadRequest)
		return
	}
	if err := s.Store.ReceiveWebhook(r.Context(), *event); err != nil {
		s.Logger.ErrorContext(r.Context(), "an event of the payment provider cannot be kept", "event", event.ID, "error", err)
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}
