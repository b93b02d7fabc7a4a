-- The tables of StepFi's application database that the reconciliation meets, in plain PostgreSQL 15 or later.
-- Nullability, defaults and constraint names are those of the application's migrations: "vendors" was "merchants" once, and
-- its constraints never learned of it. Row level security is on without a policy, so only the owner and roles with
-- BYPASSRLS see a row.

CREATE TABLE users (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    wallet_address text NOT NULL UNIQUE,
    username       text UNIQUE,
    display_name   text,
    avatar_url     text,
    status         text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
    role           text CHECK (role IN ('sponsor', 'vendor', 'mentor', 'admin')),
    last_seen_at   timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE vendors (
    id             uuid CONSTRAINT merchants_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    wallet_address text CONSTRAINT merchants_wallet_address_key UNIQUE,
    name           text NOT NULL,
    type           text NOT NULL,
    verified       boolean NOT NULL DEFAULT false,
    website        text,
    country        text,
    city           text,
    description    text,
    status         text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'suspended', 'rejected')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE loans (
    id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    loan_id                text NOT NULL UNIQUE,
    user_wallet            text NOT NULL,
    vendor_id              uuid CONSTRAINT loans_merchant_id_fkey REFERENCES vendors (id),
    amount                 numeric NOT NULL,
    loan_amount            numeric NOT NULL,
    guarantee              numeric NOT NULL,
    interest_rate          numeric NOT NULL,
    total_repayment        numeric NOT NULL,
    remaining_balance      numeric NOT NULL,
    term                   integer NOT NULL,
    status                 text NOT NULL,
    next_payment_due       timestamptz,
    reservation_id         text,
    reservation_expires_at timestamptz,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    completed_at           timestamptz,
    defaulted_at           timestamptz
);
CREATE INDEX loans_reservation_id_idx ON loans (reservation_id) WHERE reservation_id IS NOT NULL;
CREATE INDEX loans_defaulted_at_idx ON loans (defaulted_at) WHERE status = 'defaulted';

CREATE TABLE transactions (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_wallet      text NOT NULL,
    hash             text,
    transaction_hash text,
    type             text,
    status           text NOT NULL,
    xdr              text NOT NULL,
    result           jsonb,
    error            text,
    submitted_at     timestamptz NOT NULL,
    completed_at     timestamptz,
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX transactions_hash_unique ON transactions (hash) WHERE hash IS NOT NULL;
CREATE UNIQUE INDEX transactions_transaction_hash_unique ON transactions (transaction_hash)
    WHERE transaction_hash IS NOT NULL;

CREATE TABLE reputation_cache (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id        uuid NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    wallet_address text NOT NULL UNIQUE,
    score          integer NOT NULL DEFAULT 0 CHECK (score >= 0),
    tier           text NOT NULL DEFAULT 'poor',
    last_synced_at timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reputation_history (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id         text NOT NULL UNIQUE,
    user_wallet      text NOT NULL,
    old_score        integer NOT NULL,
    new_score        integer NOT NULL,
    change_amount    integer NOT NULL,
    reason           text,
    transaction_hash text,
    ledger_sequence  bigint,
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE liquidity_positions (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    provider_wallet  text NOT NULL,
    deposited_amount numeric NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE loan_index (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    loan_id          text NOT NULL UNIQUE,
    user_wallet      text NOT NULL,
    status           text NOT NULL,
    principal_amount numeric NOT NULL,
    interest_amount  numeric NOT NULL,
    due_date         timestamptz NOT NULL,
    event_id         text NOT NULL UNIQUE,
    transaction_hash text,
    ledger_sequence  bigint,
    last_synced_at   timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX loan_index_transaction_hash_idx ON loan_index (transaction_hash) WHERE transaction_hash IS NOT NULL;

CREATE TABLE payment_index (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    loan_id    text NOT NULL,
    tx_hash    text NOT NULL,
    amount     numeric NOT NULL,
    paid_at    timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tx_hash, loan_id)
);

CREATE TABLE investments_index (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_wallet text NOT NULL REFERENCES users (wallet_address) ON DELETE CASCADE,
    amount      numeric NOT NULL,
    status      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Both keys are without ON UPDATE CASCADE: a loan that is named here cannot change its loan_id.
CREATE TABLE default_detection_results (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    loan_id    text NOT NULL REFERENCES loans (loan_id),
    loan_db_id uuid NOT NULL REFERENCES loans (id),
    status     text NOT NULL CHECK (status IN ('detected', 'skipped', 'failed')),
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE vendors ENABLE ROW LEVEL SECURITY;
ALTER TABLE loans ENABLE ROW LEVEL SECURITY;
ALTER TABLE transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE reputation_cache ENABLE ROW LEVEL SECURITY;
ALTER TABLE reputation_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE liquidity_positions ENABLE ROW LEVEL SECURITY;
ALTER TABLE loan_index ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_index ENABLE ROW LEVEL SECURITY;
ALTER TABLE investments_index ENABLE ROW LEVEL SECURITY;
ALTER TABLE default_detection_results ENABLE ROW LEVEL SECURITY;
