-- +goose Up
-- A session that has ended has no row.
CREATE TABLE sessions (
    id           uuid           NOT NULL,
    user_id      uuid           NOT NULL,
    secret_hash  bytea          NOT NULL,           -- SHA-256 of the secret inside its refresh tokens
    secret_sealed bytea         NOT NULL,           -- the secret, sealed by the master key: a reauthentication names the current token again
    counter      bigint         NOT NULL DEFAULT 0, -- of the newest refresh token
    rotated_at   timestamptz(3) NOT NULL DEFAULT now(),
    auth_epoch   bigint         NOT NULL,
    auth_time    timestamptz(3) NOT NULL DEFAULT now(),
    acr          text           NOT NULL,
    amr          text[]         NOT NULL,
    device_name  text,
    user_agent   text,
    ip           inet,
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    last_used_at timestamptz(3) NOT NULL DEFAULT now(),
    idle_expires_at timestamptz(3) NOT NULL,
    expires_at   timestamptz(3) NOT NULL,           -- absolute
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT sessions_acr_check CHECK (acr IN ('aal1', 'aal2'))
) WITH (fillfactor = 80);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_created_at_idx ON sessions (created_at);

-- Where an account has signed in: the owner gets in from there while strangers burn its failures elsewhere.
CREATE TABLE sign_in_networks (
    user_id      uuid           NOT NULL,
    network      cidr           NOT NULL, -- IPv4 /32, IPv6 /64
    first_at     timestamptz(3) NOT NULL DEFAULT now(),
    last_at      timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT sign_in_networks_pkey PRIMARY KEY (user_id, network),
    CONSTRAINT sign_in_networks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

-- Counters of guesses and of mails. The key is an HMAC of what is counted: no address stands here in the clear.
CREATE TABLE credential_limits (
    key        bytea          NOT NULL,
    count      int            NOT NULL,
    resets_at  timestamptz(3) NOT NULL, -- 'infinity': until something else than time resets it
    CONSTRAINT credential_limits_pkey PRIMARY KEY (key)
) WITH (fillfactor = 70);
CREATE INDEX credential_limits_resets_at_idx ON credential_limits (resets_at);

CREATE TABLE signing_keys (
    kid         text           NOT NULL,
    algorithm   text           NOT NULL,
    public_key  bytea          NOT NULL, -- PKIX
    private_key bytea          NOT NULL, -- PKCS #8, sealed by the master key
    active_from timestamptz(3) NOT NULL,
    retires_at  timestamptz(3),
    created_at  timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid),
    CONSTRAINT signing_keys_algorithm_check CHECK (algorithm IN ('EdDSA', 'ES256'))
);

-- +goose Down
DROP TABLE signing_keys;
DROP TABLE credential_limits;
DROP TABLE sign_in_networks;
DROP TABLE sessions;
