package testkit

// billingInvariants are those of plans, subscriptions and usage.
var billingInvariants = []invariant{
	{"a workspace has one subscription that lives, and none when it is deleted", `
		SELECT w.id::text FROM tenant.workspaces w
		WHERE (SELECT count(*) FROM billing.subscriptions s WHERE s.workspace_id = w.id AND s.cancel_time IS NULL)
		   <> CASE WHEN w.delete_time IS NULL THEN 1 ELSE 0 END`},

	{"a deleted workspace has a subscription that goes on when it is undeleted", `
		SELECT w.id::text FROM tenant.workspaces w
		WHERE w.delete_time IS NOT NULL AND NOT EXISTS (
			SELECT 1 FROM billing.subscriptions s WHERE s.workspace_id = w.id AND s.cancel_reason = 'workspace_deleted')`},

	{"seats are active members", `
		SELECT s.id::text FROM billing.subscriptions s
		WHERE s.cancel_time IS NULL AND s.seats <> (
			SELECT count(*) FROM team.memberships m WHERE m.workspace_id = s.workspace_id AND m.deactivate_time IS NULL)`},

	{"a subscription is tried until its periods begin", `
		SELECT id::text FROM billing.subscriptions
		WHERE trial_end_time > anchor_time OR state = 'trialing' AND trial_end_time <> anchor_time`},

	{"a subscription has a period if, and only if, it has a price or is tried; it is the one that its anchor has", `
		SELECT id::text FROM billing.subscriptions
		WHERE cancel_time IS NULL AND ((period_start_time IS NOT NULL) <> (currency IS NOT NULL OR state = 'trialing')
		   OR state IN ('active', 'past_due') AND period_start_time < anchor_time)`},

	{"a subscription has the price that its plan names, or none when that costs nothing", `
		SELECT s.id::text FROM billing.subscriptions s JOIN billing.plan_versions v ON v.plan = s.plan AND v.version = s.plan_version
		WHERE s.currency IS NULL <> (coalesce(jsonb_array_length(v.definition -> 'prices'), 0) = 0)
		   OR s.currency IS NOT NULL AND NOT v.definition -> 'prices' @> jsonb_build_array(jsonb_build_object('currency', s.currency, 'interval', s.due_interval))`},

	{"a subscription is past due since a time, and reminded of it at another; no other is", `
		SELECT id::text FROM billing.subscriptions
		WHERE (state = 'past_due' OR former_state IS NOT DISTINCT FROM 'past_due'
		       -- A provider's is paused because of an invoice of our own, or of the provider's.
		       OR provider = 'stripe' AND pause_reason IS NOT DISTINCT FROM 'unpaid' AND dunning_time IS NOT NULL) <> (past_due_time IS NOT NULL)
		   OR (past_due_time IS NULL) <> (dunning_time IS NULL) AND (provider = 'manual' OR past_due_time IS NULL)`},

	{"no two periods of a subscription overlap, and the present one comes after them", `
		SELECT p.subscription_id || ' ' || p.start_time FROM billing.periods p
		WHERE EXISTS (SELECT 1 FROM billing.periods o WHERE o.subscription_id = p.subscription_id AND o.start_time > p.start_time AND o.start_time < p.end_time)
		   OR EXISTS (SELECT 1 FROM billing.subscriptions s WHERE s.id = p.subscription_id AND s.state IN ('trialing', 'active', 'past_due') AND s.period_start_time < p.end_time)`},

	{"a period is of a subscription of its workspace", `
		SELECT p.subscription_id::text FROM billing.periods p
		WHERE NOT EXISTS (SELECT 1 FROM billing.subscriptions s WHERE s.id = p.subscription_id AND s.workspace_id = p.workspace_id)`},

	{"what is tried, or was, counts as a trial", `
		SELECT s.id::text FROM billing.subscriptions s
		WHERE s.trial_end_time IS NOT NULL AND NOT EXISTS (SELECT 1 FROM billing.trials t WHERE t.workspace_id = s.workspace_id)`},

	{"one plan is the default, and it is offered", `
		SELECT count(*)::text FROM billing.plans WHERE is_default AND offered HAVING count(*) <> 1`},

	{"a plan has its versions from the first to the present one", `
		SELECT p.plan FROM billing.plans p
		WHERE p.version <> (SELECT count(*) FROM billing.plan_versions v WHERE v.plan = p.plan AND v.version BETWEEN 1 AND p.version)
		   OR EXISTS (SELECT 1 FROM billing.plan_versions v WHERE v.plan = p.plan AND v.version > p.version)`},

	{"what is at the provider is of a workspace that is there, or it ends", `
		SELECT p.provider_subscription_id FROM billing.provider_subscriptions p LEFT JOIN tenant.workspaces w ON w.id = p.workspace_id
		WHERE p.desired <> 'canceled' AND (w.id IS NULL OR p.subscription_id IS NOT NULL AND 
		       (w.delete_time IS NULL AND p.reason IS DISTINCT FROM 'unpaid') <> (p.desired = 'live'))
		   OR w.id IS NULL AND p.subscription_id IS NOT NULL`},

	{"what is at the provider is the subscription of its workspace", `
		SELECT p.provider_subscription_id FROM billing.provider_subscriptions p JOIN billing.subscriptions s ON s.id = p.subscription_id
		WHERE s.workspace_id <> p.workspace_id OR s.provider <> 'stripe' AND p.desired <> 'canceled'`},

	{"what was told by the provider came before it was followed", `
		SELECT event_id FROM billing.webhook_events
		WHERE process_time < receive_time OR process_time IS NULL AND subscription IS NULL AND invoice IS NULL`},

	{"what a workspace has at the provider is of the customer that it is there", `
		SELECT p.provider_subscription_id FROM billing.customers c JOIN billing.provider_subscriptions p ON p.workspace_id = c.workspace_id
		WHERE p.provider_customer_id <> c.provider_customer_id`},

	{"no more is credited at the provider than was paid here", `
		SELECT c.workspace_id || ' ' || c.currency FROM billing.provider_credits c GROUP BY c.workspace_id, c.currency
		HAVING sum(c.amount) > (SELECT coalesce(sum(i.total), 0) FROM billing.invoices i
			WHERE i.workspace_id = c.workspace_id AND i.currency = c.currency AND i.provider = 'manual' AND i.state = 'paid')`},

	{"this server has one name at the provider", "SELECT count(*)::text FROM billing.installation HAVING count(*) <> 1"},

	{"an override gives one kind of value", `
		SELECT workspace_id || ' ' || feature FROM billing.overrides
		WHERE jsonb_typeof(value) <> 'object' OR (SELECT count(*) FROM jsonb_object_keys(value)) <> 1`},

	{"an invoice of our own is what its lines come to", `
		SELECT i.number FROM billing.invoices i LEFT JOIN billing.invoice_lines l ON l.invoice_id = i.id WHERE i.provider = 'manual'
		GROUP BY i.id HAVING count(l.position) = 0 OR bool_or(l.currency <> i.currency)
		    OR i.subtotal <> coalesce(sum(l.amount) FILTER (WHERE l.kind <> 'tax'), 0) OR i.tax <> coalesce(sum(l.amount) FILTER (WHERE l.kind = 'tax'), 0)`},

	{"an invoice with its lines, and what waits for one, is of the workspace that is subscribed", `
		SELECT i.number FROM billing.invoices i JOIN billing.subscriptions s ON s.id = i.subscription_id WHERE s.workspace_id <> i.workspace_id
		UNION ALL SELECT i.number FROM billing.invoices i JOIN billing.invoice_lines l ON l.invoice_id = i.id WHERE l.workspace_id <> i.workspace_id
		UNION ALL SELECT p.id::text FROM billing.pending_lines p JOIN billing.subscriptions s ON s.id = p.subscription_id WHERE s.workspace_id <> p.workspace_id`},

	{"an invoice is in the register as it was issued", `
		SELECT i.number FROM billing.invoices i LEFT JOIN billing.invoice_register r USING (issuer, number)
		WHERE i.provider = 'manual' AND (i.issue_time, i.currency, i.total, i.tax) IS DISTINCT FROM (r.issue_time, r.currency, r.total, r.tax)`},

	{"the numbers of an issuer are in the register, without a gap", `
		SELECT n.issuer FROM billing.invoice_numbers n
		WHERE ARRAY(SELECT n.issuer || lpad(c::text, greatest(6, length(c::text)), '0') FROM generate_series(1, n.last) c ORDER BY c)
		   <> ARRAY(SELECT r.number FROM billing.invoice_register r WHERE r.issuer = n.issuer ORDER BY length(r.number), r.number)`},

	{"an invoice of our own was issued once, and then paid or voided at most once", `
		SELECT i.number FROM billing.invoices i LEFT JOIN audit.events e ON e.workspace_id = i.workspace_id AND e.details ->> 'number' = i.number
		WHERE i.provider = 'manual' GROUP BY i.id
		HAVING count(*) FILTER (WHERE e.action = 'invoice.issued') <> 1
		    OR count(*) FILTER (WHERE e.action = 'invoice.paid') <> (i.state = 'paid')::int
		    OR count(*) FILTER (WHERE e.action = 'invoice.voided') <> (i.state = 'void')::int`},
	// Events are not kept for longer than that.
	{"what was used in an hour is what its events add up to", `
		SELECT workspace_id || ' ' || meter || ' ' || hour
		FROM (SELECT workspace_id, meter, date_trunc('hour', event_time, 'UTC') AS hour, sum(quantity) AS quantity
		      FROM billing.usage_events GROUP BY 1, 2, 3) e
		FULL JOIN billing.usage_hours h USING (workspace_id, meter, hour)
		WHERE e.quantity IS DISTINCT FROM h.quantity AND (e.quantity IS NOT NULL OR hour > now() - interval '399 days')`},

	{"what was used in periods is what was used in hours", `
		SELECT workspace_id || ' ' || meter
		FROM (SELECT workspace_id, meter, sum(quantity) AS quantity FROM billing.usage_hours GROUP BY 1, 2) h
		FULL JOIN (SELECT workspace_id, meter, sum(quantity) AS quantity FROM billing.usage_totals GROUP BY 1, 2) t USING (workspace_id, meter)
		WHERE coalesce(h.quantity, 0) <> coalesce(t.quantity, 0)`},
}
