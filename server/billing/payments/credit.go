package payments

import (
	"context"
	"fmt"

	"github.com/logicspike/manager/server/billing/provider"
)

// Credit has the provider credit a customer, if it is time for that and nobody else does
// so. What fails is tried again by WorkDue.
func (s *Service) Credit(ctx context.Context, id string) error {
	if s.Provider == nil {
		return nil
	}
	leased, err := s.Store.LeaseProviderCredit(ctx, id)
	if err != nil || leased == nil {
		return err
	}
	work, done := context.WithTimeout(ctx, workTimeout)
	// The same key for the same try, but a new one after an answer that it failed which the
	// provider repeats; it looks first whether the credit is there.
	err = s.Provider.Credit(work, leased, fmt.Sprintf("credit:%s:%d", leased.ID, leased.Refusals))
	done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err != nil {
		s.Logger.WarnContext(ctx, "the payment provider does not have a credit that it should", "credit", id, "attempt", leased.Attempts+1, "error", err)
		return s.Store.ProviderCreditFailed(ctx, leased, provider.Repeated(err), err.Error())
	}
	return s.Store.ProviderCredited(ctx, leased)
}
