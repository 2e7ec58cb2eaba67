-- +goose Up
-- Second factors that are secrets shared with a device. One that is pending has no activated_at.
CREATE TABLE mfa_factors (
    id            uuid           NOT NULL,
    user_id       uuid           NOT NULL,
    kind          text           NOT NULL DEFAULT 'totp',
    name          text,
    secret_sealed bytea          NOT NULL,           -- sealed by the master key, bound to the account's and the factor's id
    last_step     bigint         NOT NULL DEFAULT 0, -- the time step of the newest code that was used: it only grows
    created_at    timestamptz(3) NOT NULL DEFAULT now(),
    activated_at  timestamptz(3),
    last_used_at  timestamptz(3),
    CONSTRAINT mfa_factors_pkey PRIMARY KEY (id),
    CONSTRAINT mfa_factors_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT mfa_factors_kind_check CHECK (kind = 'totp')
);
CREATE INDEX mfa_factors_user_id_idx ON mfa_factors (user_id, created_at);
CREATE UNIQUE INDEX mfa_factors_pending_key ON mfa_factors (user_id) WHERE activated_at IS NULL;

-- A code that was used has no row.
CREATE TABLE mfa_recovery_codes (
    user_id    uuid           NOT NULL,
    code_hash  bytea          NOT NULL, -- SHA-256 of 120 random bits
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT mfa_recovery_codes_pkey PRIMARY KEY (user_id, code_hash),
    CONSTRAINT mfa_recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

-- A sign-in whose first factor was right and which waits for the second. One that was used has no row.
CREATE TABLE mfa_challenges (
    token_hash      bytea          NOT NULL, -- SHA-256 of 256 random bits
    user_id         uuid           NOT NULL,
    auth_epoch      bigint         NOT NULL,
    password_digest bytea,                   -- SHA-256 of the password hash that was verified; null: no password was
    amr             text[]         NOT NULL, -- of the first factor
    device_name     text,
    cookie          boolean        NOT NULL DEFAULT false, -- the refresh token is wanted as a cookie
    tries           int            NOT NULL DEFAULT 0,
    created_at      timestamptz(3) NOT NULL DEFAULT now(),
    expires_at      timestamptz(3) NOT NULL,
    CONSTRAINT mfa_challenges_pkey PRIMARY KEY (token_hash),
    CONSTRAINT mfa_challenges_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX mfa_challenges_user_id_idx ON mfa_challenges (user_id);
CREATE INDEX mfa_challenges_expires_at_idx ON mfa_challenges (expires_at);

-- +goose Down
DROP TABLE mfa_challenges;
DROP TABLE mfa_recovery_codes;
DROP TABLE mfa_factors;
