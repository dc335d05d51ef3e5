-- How often a report was sent of which nobody knows that it was refused. While it is, what
-- the report tells may have arrived, and is told by no other one.
ALTER TABLE billing.usage_totals ADD COLUMN report_sendings integer NOT NULL DEFAULT 0 CHECK (report_sendings >= 0);
UPDATE billing.usage_totals SET report_sendings = 1 WHERE report_quantity IS NOT NULL;
