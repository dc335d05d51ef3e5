package billing

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/server/convert"
)

// GetTestClock implements TestClockService.
func (m *Module) GetTestClock(ctx context.Context, _ *billingv1.GetTestClockRequest) (*billingv1.GetTestClockResponse, error) {
	now, ahead, err := m.store.TestClock(ctx)
	if err != nil {
		return nil, err
	}
	return &billingv1.GetTestClockResponse{Time: convert.Time(now), Ahead: durationpb.New(ahead)}, nil
}

// AdvanceTestClock implements TestClockService.
func (m *Module) AdvanceTestClock(ctx context.Context, req *billingv1.AdvanceTestClockRequest) (*billingv1.AdvanceTestClockResponse, error) {
	now, ahead, err := m.store.AdvanceTestClock(ctx, req.By.AsDuration())
	if err != nil {
		return nil, err
	}
	return &billingv1.AdvanceTestClockResponse{Time: convert.Time(now), Ahead: durationpb.New(ahead)}, nil
}
