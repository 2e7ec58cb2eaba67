-- +goose Up
-- WebAuthn credentials. The user handle that authenticators keep is the account's id.
CREATE TABLE passkeys (
    id              uuid           NOT NULL,
    user_id         uuid           NOT NULL,
    credential_id   bytea          NOT NULL, -- the authenticator's name for it
    public_key      bytea          NOT NULL, -- COSE
    sign_count      bigint         NOT NULL, -- of the newest use; 0 from authenticators that do not count
    aaguid          uuid           NOT NULL, -- the authenticator's model, all zero when it does not say
    transports      text[]         NOT NULL,
    backup_eligible boolean        NOT NULL, -- can be synchronised between devices; never changes
    backed_up       boolean        NOT NULL,
    name            text           NOT NULL,
    version         bigint         NOT NULL DEFAULT 1,
    created_at      timestamptz(3) NOT NULL DEFAULT now(),
    last_used_at    timestamptz(3),
    CONSTRAINT passkeys_pkey PRIMARY KEY (id),
    CONSTRAINT passkeys_credential_id_key UNIQUE (credential_id),
    CONSTRAINT passkeys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX passkeys_user_id_idx ON passkeys (user_id, created_at, id);

-- +goose Down
DROP TABLE passkeys;
