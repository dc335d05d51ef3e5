package testkit

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/ids"
)

// Invoice has a workspace owe 20 EUR: as the product does, but behind its back. It
// returns the invoice's id and number.
func (s *Server) Invoice(t testing.TB, workspace string) (id, number string) {
	t.Helper()
	w, err := ids.Parse[ids.Workspace](workspace)
	if err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(t.Context(), s.SQL, func(tx pgx.Tx) (err error) {
		id, number, err = IssueInvoice(t.Context(), tx, w, s.Clock.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, number
}

// IssueInvoice is Invoice in a transaction of any database.
func IssueInvoice(ctx context.Context, tx pgx.Tx, workspace ids.Workspace, now time.Time) (id, number string, err error) {
	invoice := ids.New[ids.Invoice]()
	if err := tx.QueryRow(ctx, `
		INSERT INTO billing.invoice_numbers AS n (issuer, last) VALUES ('INV-', 1)
		ON CONFLICT (issuer) DO UPDATE SET last = n.last + 1 RETURNING issuer || lpad(last::text, 6, '0')`).Scan(&number); err != nil {
		return "", "", err
	}
	for _, statement := range []struct {
		sql  string
		args []any
	}{
		{"INSERT INTO billing.invoice_register VALUES ('INV-', $1, $2, 'EUR', 2000, 0)", []any{number, now}},
		{`INSERT INTO billing.invoice_lines VALUES ($1, 1, $2, 'flat', 'team', 'Team', '', 1, 2000, 'EUR', $3, $3::timestamptz + interval '1 month', false)`,
			[]any{invoice.UUID(), workspace.UUID(), now}},
		{`INSERT INTO billing.invoices (id, workspace_id, subscription_id, provider, issuer, number, issuer_text, customer_name, currency,
		      subtotal, tax, total, period_start_time, period_end_time, issue_time, due_time, state, note)
		  SELECT $1, w.id, s.id, 'manual', 'INV-', $3, 'LogicSpike Manager', w.name, 'EUR',
		      2000, 0, 2000, $4, $4::timestamptz + interval '1 month', $4, $4::timestamptz + interval '14 days', 'open', ''
		  FROM tenant.workspaces w JOIN billing.subscriptions s ON s.workspace_id = w.id WHERE w.id = $2
		  ORDER BY s.cancel_time DESC NULLS FIRST, s.id DESC LIMIT 1`, []any{invoice.UUID(), workspace.UUID(), number, now}},
		{`INSERT INTO audit.events (id, workspace_id, actor_kind, action, target_id, details, create_time)
		  VALUES ($1, $2, 'system', 'invoice.issued', $3, jsonb_build_object('number', $4::text, 'total', 2000, 'currency', 'EUR'), $5)`,
			[]any{ids.New[ids.Event]().UUID(), workspace.UUID(), invoice.String(), number, now}},
	} {
		if _, err := tx.Exec(ctx, statement.sql, statement.args...); err != nil {
			return "", "", err
		}
	}
	return invoice.String(), number, nil
}
