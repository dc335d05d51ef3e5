package billing

import (
	"context"
	"encoding/json"
	"time"

	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing/pricing"
)

// ChargedUsage is what was used of a meter in a period that has ended, and what was
// charged for it until now.
type ChargedUsage struct {
	Meter           string
	Period          pricing.Period
	Price           pricing.UsagePrice
	Quantity        int64
	ChargedQuantity int64
	ChargedAmount   int64
}

// Due returns what is due in total.
func (c ChargedUsage) Due() int64 { return c.Price.Due(c.Quantity) }

// OpenCharges makes the prices those of a period that has ended, for good: for meters
// that have none it costs nothing. What was opened before stays as it is.
func (r Repository) OpenCharges(ctx context.Context, workspace ids.Workspace, currency string, prices []pricing.UsagePrice, period pricing.Period) error {
	meters, texts := make([]string, len(prices)), make([]string, len(prices))
	for i, p := range prices {
		data, err := json.Marshal(p)
		if err != nil {
			return err
		}
		meters[i], texts[i] = p.Meter, string(data)
	}
	_, err := r.db.NewRaw(`
		INSERT INTO billing.usage_totals AS t (workspace_id, meter, period_start_time, quantity, period_end_time, currency, price)
		SELECT ?0, p.meter, ?1, 0, ?2, ?3, p.price::jsonb FROM unnest(?4::text[], ?5::text[]) p (meter, price) ORDER BY p.meter COLLATE "C"
		ON CONFLICT (workspace_id, meter, period_start_time)
		DO UPDATE SET period_end_time = EXCLUDED.period_end_time, currency = EXCLUDED.currency, price = EXCLUDED.price WHERE t.price IS NULL`,
		workspace, period.Start, period.End, currency, pgdialect.Array(meters), pgdialect.Array(texts)).Exec(ctx)
	return err
}

// UnchargedUsage locks what was used in periods that were opened for charges, and not
// charged since, and returns it by period and meter.
func (r Repository) UnchargedUsage(ctx context.Context, workspace ids.Workspace, currency string) ([]ChargedUsage, error) {
	return r.uncharged(ctx, workspace, currency, "ORDER BY meter COLLATE \"C\", period_start_time FOR NO KEY UPDATE")
}

// LateUsage is UnchargedUsage that locks nothing.
func (r Repository) LateUsage(ctx context.Context, workspace ids.Workspace, currency string) ([]ChargedUsage, error) {
	return r.uncharged(ctx, workspace, currency, "ORDER BY meter COLLATE \"C\", period_start_time")
}

func (r Repository) uncharged(ctx context.Context, workspace ids.Workspace, currency, how string) ([]ChargedUsage, error) {
	var rows []struct {
		Meter           string
		PeriodStartTime time.Time
		PeriodEndTime   time.Time
		Price           json.RawMessage
		Quantity        int64
		ChargedQuantity int64
		ChargedAmount   int64
	}
	if err := r.db.NewRaw(`
		SELECT meter, period_start_time, period_end_time, price, quantity, charged_quantity, charged_amount FROM billing.usage_totals
		WHERE workspace_id = ? AND price IS NOT NULL AND quantity <> charged_quantity AND currency = ? `+how,
		workspace, currency).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	list := make([]ChargedUsage, len(rows))
	for i, row := range rows {
		list[i] = ChargedUsage{
			Meter: row.Meter, Period: pricing.Period{Start: row.PeriodStartTime, End: row.PeriodEndTime},
			Quantity: row.Quantity, ChargedQuantity: row.ChargedQuantity, ChargedAmount: row.ChargedAmount,
		}
		if err := json.Unmarshal(row.Price, &list[i].Price); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// MarkCharged notes that what is due of usage, as it was read, is charged.
func (r Repository) MarkCharged(ctx context.Context, workspace ids.Workspace, list []ChargedUsage) error {
	n := len(list)
	meter, start, quantity, amount := make([]string, n), make([]string, n), make([]int64, n), make([]int64, n)
	for i, c := range list {
		meter[i], start[i], quantity[i], amount[i] = c.Meter, stamp(c.Period.Start), c.Quantity, c.Due()
	}
	_, err := r.db.NewRaw(`
		UPDATE billing.usage_totals t SET charged_quantity = c.quantity, charged_amount = c.amount
		FROM unnest(?1::text[], ?2::timestamptz[], ?3::bigint[], ?4::bigint[]) c (meter, start, quantity, amount)
		WHERE t.workspace_id = ?0 AND t.meter = c.meter AND t.period_start_time = c.start`,
		workspace, pgdialect.Array(meter), pgdialect.Array(start), pgdialect.Array(quantity), pgdialect.Array(amount)).Exec(ctx)
	return err
}

// UsageIn returns what was used in a period that was not opened for charges, by meter.
func (r Repository) UsageIn(ctx context.Context, workspace ids.Workspace, period pricing.Period) (map[string]int64, error) {
	var rows []PeriodUsage
	if err := r.db.NewRaw(`
		SELECT meter, period_start_time, quantity FROM billing.usage_totals WHERE workspace_id = ? AND period_start_time = ? AND price IS NULL`,
		workspace, period.Start).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	used := make(map[string]int64, len(rows))
	for _, row := range rows {
		used[row.Meter] = row.Quantity
	}
	return used, nil
}
