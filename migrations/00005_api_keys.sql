-- +goose Up
CREATE TABLE api_keys (
    id                uuid           NOT NULL,
    user_id           uuid           NOT NULL, -- the owner, whose permissions bound the scopes
    created_by        uuid           NOT NULL, -- who made it; outlives him as a pseudonym
    name              text           NOT NULL,
    environment       text           NOT NULL,
    scopes            text[]         NOT NULL,
    allowed_ips       cidr[],
    rate_limit        int,
    rate_window_seconds int,
    metadata          jsonb          NOT NULL DEFAULT '{}',
    expires_at        timestamptz(3),
    revoked_at        timestamptz(3),
    quarantined_at    timestamptz(3),
    last_used_at      timestamptz(3),
    version           bigint         NOT NULL DEFAULT 1,
    created_at        timestamptz(3) NOT NULL DEFAULT now(),
    updated_at        timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT api_keys_environment_check CHECK (environment IN ('live', 'test')),
    CONSTRAINT api_keys_scopes_check CHECK (cardinality(scopes) > 0),
    CONSTRAINT api_keys_rate_check CHECK ((rate_limit IS NULL) = (rate_window_seconds IS NULL))
);
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id, created_at, id);
CREATE INDEX api_keys_created_at_idx ON api_keys (created_at, id);
CREATE INDEX api_keys_scopes_idx ON api_keys USING gin (scopes);

-- Apart from the key, because a rotation has two that live.
CREATE TABLE api_key_secrets (
    public_id    text           NOT NULL, -- the 22 characters by which it is found
    key_id       uuid           NOT NULL,
    secret_hash  bytea          NOT NULL, -- SHA-256
    last4        text           NOT NULL,
    expires_at   timestamptz(3),          -- of this secret: the end of an overlap
    last_used_at timestamptz(3),
    last_used_ip inet,
    last_used_user_agent text,
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT api_key_secrets_pkey PRIMARY KEY (public_id),
    CONSTRAINT api_key_secrets_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys (id) ON DELETE CASCADE
);
CREATE INDEX api_key_secrets_key_id_idx ON api_key_secrets (key_id, created_at DESC);

-- +goose Down
DROP TABLE api_key_secrets;
DROP TABLE api_keys;
