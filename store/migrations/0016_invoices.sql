-- What workspaces owe, and have paid.

-- The last number that an issuer has given. It is locked until the transaction ends that
-- gives the next one: so there are no gaps, and no number twice.
CREATE TABLE billing.invoice_numbers (
    issuer text   PRIMARY KEY CHECK (issuer ~ '^[A-Za-z0-9._/-]{0,20}$' AND issuer !~ '[0-9]$'),
    last   bigint NOT NULL CONSTRAINT invoice_numbers_last CHECK (last > 0)
);

-- All that was ever issued. It outlives the workspaces, and names nobody.
CREATE TABLE billing.invoice_register (
    issuer     text        NOT NULL CONSTRAINT invoice_register_issuer_fkey REFERENCES billing.invoice_numbers,
    number     text        NOT NULL CONSTRAINT invoice_register_number CHECK (starts_with(number, issuer)),
    issue_time timestamptz NOT NULL,
    currency   text        NOT NULL CONSTRAINT invoice_register_currency CHECK (currency ~ '^[A-Z]{3}$'),
    total      bigint      NOT NULL CONSTRAINT invoice_register_total CHECK (total > 0),
    tax        bigint      NOT NULL,
    PRIMARY KEY (issuer, number)
);

CREATE TABLE billing.invoices (
    id                  uuid        PRIMARY KEY,
    workspace_id        uuid        NOT NULL REFERENCES tenant.workspaces,
    subscription_id     uuid        CONSTRAINT invoices_subscription_fkey REFERENCES billing.subscriptions,
    -- Who issued it: this server, or a payment provider whose invoice this is a copy of.
    provider            text        NOT NULL CONSTRAINT invoices_provider CHECK (provider IN ('manual', 'stripe')),
    provider_invoice_id text,
    document_url        text,
    -- By what the issuer's numbers begin; none of the provider's.
    issuer              text,
    number              text        NOT NULL,
    -- What is printed of issuer and customer, as it was at that time.
    issuer_text         text        NOT NULL,
    customer_name       text        NOT NULL,
    currency            text        NOT NULL CONSTRAINT invoices_currency CHECK (currency ~ '^[A-Z]{3}$'),
    subtotal            bigint      NOT NULL,
    tax                 bigint      NOT NULL,
    total               bigint      NOT NULL,
    period_start_time   timestamptz NOT NULL,
    period_end_time     timestamptz NOT NULL,
    issue_time          timestamptz NOT NULL,
    due_time            timestamptz NOT NULL,
    state               text        NOT NULL CONSTRAINT invoices_state CHECK (state IN ('open', 'paid', 'void')),
    paid_time           timestamptz,
    void_time           timestamptz,
    -- Why it is paid or void.
    note                text        NOT NULL,
    CONSTRAINT invoices_total CHECK (subtotal + tax = total),
    CONSTRAINT invoices_positive CHECK (provider <> 'manual' OR total > 0),
    CONSTRAINT invoices_times CHECK ((state = 'paid') = (paid_time IS NOT NULL) AND (state = 'void') = (void_time IS NOT NULL)),
    CONSTRAINT invoices_origin CHECK (CASE provider
        WHEN 'manual' THEN issuer IS NOT NULL AND subscription_id IS NOT NULL AND provider_invoice_id IS NULL AND document_url IS NULL
        ELSE issuer IS NULL AND provider_invoice_id IS NOT NULL END),
    CONSTRAINT invoices_register_fkey FOREIGN KEY (issuer, number) REFERENCES billing.invoice_register
);
CREATE UNIQUE INDEX invoices_number ON billing.invoices (number) WHERE provider = 'manual';
CREATE UNIQUE INDEX invoices_provider_invoice ON billing.invoices (provider, provider_invoice_id) WHERE provider <> 'manual';
CREATE INDEX invoices_by_workspace ON billing.invoices (workspace_id, issue_time, id);
CREATE INDEX invoices_by_time ON billing.invoices (issue_time, id);
CREATE INDEX invoices_by_number ON billing.invoices (number);
CREATE INDEX invoices_open ON billing.invoices (due_time, id) WHERE state = 'open';
CREATE INDEX invoices_by_subscription ON billing.invoices (subscription_id);

-- What an invoice is for. Taxes are its last lines. They are written before their invoice:
-- one that is there gets no further ones.
CREATE TABLE billing.invoice_lines (
    invoice_id   uuid        NOT NULL CONSTRAINT invoice_lines_invoice_fkey REFERENCES billing.invoices DEFERRABLE INITIALLY DEFERRED,
    position     integer     NOT NULL,
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    kind         text        NOT NULL CONSTRAINT invoice_lines_kind CHECK (kind IN ('flat', 'seats', 'usage', 'tax')),
    plan         text        NOT NULL,
    description  text        NOT NULL,
    meter        text        NOT NULL,
    quantity     bigint      NOT NULL,
    amount       bigint      NOT NULL,
    currency     text        NOT NULL CONSTRAINT invoice_lines_currency CHECK (currency ~ '^[A-Z]{3}$'),
    start_time   timestamptz,
    end_time     timestamptz,
    proration    boolean     NOT NULL,
    PRIMARY KEY (invoice_id, position)
);
CREATE INDEX invoice_lines_by_workspace ON billing.invoice_lines (workspace_id);

-- What waits for the next invoice.
CREATE TABLE billing.pending_lines (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id    uuid        NOT NULL REFERENCES tenant.workspaces,
    subscription_id uuid        NOT NULL CONSTRAINT pending_lines_subscription_fkey REFERENCES billing.subscriptions,
    kind            text        NOT NULL CONSTRAINT pending_lines_kind CHECK (kind IN ('flat', 'seats', 'usage')),
    plan            text        NOT NULL,
    description     text        NOT NULL,
    meter           text        NOT NULL,
    quantity        bigint      NOT NULL,
    amount          bigint      NOT NULL CONSTRAINT pending_lines_amount CHECK (amount <> 0),
    currency        text        NOT NULL CONSTRAINT pending_lines_currency CHECK (currency ~ '^[A-Z]{3}$'),
    start_time      timestamptz,
    end_time        timestamptz,
    proration       boolean     NOT NULL,
    create_time     timestamptz NOT NULL
);
CREATE INDEX pending_lines_by_workspace ON billing.pending_lines (workspace_id, currency, id);
CREATE INDEX pending_lines_by_subscription ON billing.pending_lines (subscription_id);

-- An invoice that was issued never changes, but that it is paid or void one day.
-- Of a workspace that is purged, which the setting billing.purged names, it goes.
CREATE FUNCTION billing.keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT EXISTS (SELECT 1 FROM billing.invoices WHERE id = NEW.invoice_id) THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        IF OLD.workspace_id::text = current_setting('billing.purged', true) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_TABLE_NAME = 'invoices' THEN
        IF to_jsonb(OLD) ->> 'state' = 'open'
           AND to_jsonb(OLD) - '{state,paid_time,void_time,note}'::text[] = to_jsonb(NEW) - '{state,paid_time,void_time,note}'::text[] THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'an invoice that was issued does not change'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'invoice_kept', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER invoices_kept BEFORE UPDATE OR DELETE ON billing.invoices FOR EACH ROW EXECUTE FUNCTION billing.keep_invoice();
CREATE TRIGGER invoice_lines_kept BEFORE INSERT OR UPDATE OR DELETE ON billing.invoice_lines FOR EACH ROW EXECUTE FUNCTION billing.keep_invoice();

-- What is in the register stays there as it is.
CREATE FUNCTION billing.keep_register() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the register of invoices does not change'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'invoice_register_kept', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER invoice_register_kept BEFORE UPDATE OR DELETE ON billing.invoice_register FOR EACH ROW EXECUTE FUNCTION billing.keep_register();
