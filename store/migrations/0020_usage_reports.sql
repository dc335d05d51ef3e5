-- What the payment provider charges usage for: how much it is still to be told, and how
-- much it is just being told, by a report that is repeated as it is until it is known to
-- have arrived. Reports are counted, so that each has a name.
ALTER TABLE billing.usage_totals
    ADD COLUMN unreported_quantity bigint  NOT NULL DEFAULT 0 CHECK (unreported_quantity >= 0),
    ADD COLUMN reports             integer NOT NULL DEFAULT 0,
    ADD COLUMN report_quantity     bigint CHECK (report_quantity > 0),
    ADD COLUMN report_time         timestamptz,
    ADD CONSTRAINT usage_totals_report CHECK ((report_quantity IS NULL) = (report_time IS NULL)
        AND unreported_quantity + coalesce(report_quantity, 0) <= quantity);
CREATE INDEX usage_totals_unreported ON billing.usage_totals (workspace_id, meter, period_start_time)
    WHERE unreported_quantity > 0 OR report_quantity IS NOT NULL;
