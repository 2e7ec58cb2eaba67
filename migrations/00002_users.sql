-- +goose Up
CREATE TABLE users (
    id             uuid           NOT NULL DEFAULT gen_random_uuid(),
    kind           text           NOT NULL DEFAULT 'human',
    email          text,                                      -- as typed, with an A-label domain; mail goes here
    email_norm     text,                                      -- lower case; the identity
    email_verified boolean        NOT NULL DEFAULT false,
    display_name   text,
    locale         text,
    timezone       text,
    status         text           NOT NULL DEFAULT 'pending',
    password_hash  text,                                      -- PHC string; null = no password
    external_id    text,
    metadata       jsonb          NOT NULL DEFAULT '{}',      -- the owner's
    app_metadata   jsonb          NOT NULL DEFAULT '{}',      -- the application's
    mfa_enabled    boolean        NOT NULL DEFAULT false,
    auth_epoch     bigint         NOT NULL DEFAULT 1,         -- recovery raises it; what was issued before is dead
    version        bigint         NOT NULL DEFAULT 1,         -- the ETag
    last_login_at  timestamptz(3),
    deleted_at     timestamptz(3),                            -- when deletion was asked for
    created_at     timestamptz(3) NOT NULL DEFAULT now(),
    updated_at     timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_norm_key UNIQUE (email_norm),
    CONSTRAINT users_external_id_key UNIQUE (external_id),
    CONSTRAINT users_kind_check CHECK (kind IN ('human', 'service')),
    CONSTRAINT users_status_check CHECK (status IN ('active', 'pending', 'suspended', 'deleting')),
    CONSTRAINT users_email_check CHECK ((email IS NULL) = (email_norm IS NULL) AND (kind = 'human') = (email IS NOT NULL))
);
-- Lists: newest first, by last sign-in; the address has its unique index. Each is a keyset with the id as tie-break.
CREATE INDEX users_created_at_idx ON users (created_at, id);
CREATE INDEX users_last_login_at_idx ON users (last_login_at, id);
CREATE INDEX users_status_idx ON users (status, created_at, id) WHERE status <> 'active' OR kind <> 'human';

-- A registration is a claim on an address. Until one is proven, several people may claim the same one,
-- each with a password of his own; none of them is the account's.
CREATE TABLE registration_attempts (
    id                   uuid           NOT NULL,
    user_id              uuid           NOT NULL,
    registration_id_hash bytea          NOT NULL, -- SHA-256 of what the registrant holds
    password_hash        text           NOT NULL,
    display_name         text,
    locale               text,
    created_at           timestamptz(3) NOT NULL DEFAULT now(),
    expires_at           timestamptz(3) NOT NULL,
    CONSTRAINT registration_attempts_pkey PRIMARY KEY (id),
    CONSTRAINT registration_attempts_registration_id_key UNIQUE (registration_id_hash),
    CONSTRAINT registration_attempts_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX registration_attempts_user_id_idx ON registration_attempts (user_id, created_at DESC);

CREATE TABLE one_time_tokens (
    id         uuid           NOT NULL,
    purpose    text           NOT NULL,
    token_hash bytea          NOT NULL, -- SHA-256 of 256 random bits; of a code: HMAC with the attempt's id
    user_id    uuid           NOT NULL,
    attempt_id uuid,                    -- the registration attempt that it proves
    email_norm text           NOT NULL, -- the address that it was mailed to
    auth_epoch bigint         NOT NULL,
    tries      int            NOT NULL DEFAULT 0,
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    expires_at timestamptz(3) NOT NULL,
    used_at    timestamptz(3),
    CONSTRAINT one_time_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT one_time_tokens_token_key UNIQUE (purpose, token_hash),
    CONSTRAINT one_time_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT one_time_tokens_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES registration_attempts (id) ON DELETE CASCADE,
    CONSTRAINT one_time_tokens_purpose_check CHECK (purpose <> '')
);
CREATE INDEX one_time_tokens_user_id_idx ON one_time_tokens (user_id, purpose);
CREATE INDEX one_time_tokens_attempt_id_idx ON one_time_tokens (attempt_id);
CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at);

CREATE TABLE profiles (
    user_id      uuid           NOT NULL,
    given_name   text,
    family_name  text,
    nickname     text,
    bio          text,
    phone        text,
    website      text,
    birth_date   date,
    address      jsonb,
    social_links jsonb,
    visibility   text           NOT NULL DEFAULT 'private',
    attributes   jsonb          NOT NULL DEFAULT '{}',
    version      bigint         NOT NULL DEFAULT 1,
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    updated_at   timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT profiles_pkey PRIMARY KEY (user_id),
    CONSTRAINT profiles_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT profiles_visibility_check CHECK (visibility IN ('private', 'public'))
);
CREATE INDEX profiles_created_at_idx ON profiles (created_at, user_id);

-- +goose Down
DROP TABLE profiles;
DROP TABLE one_time_tokens;
DROP TABLE registration_attempts;
DROP TABLE users;
