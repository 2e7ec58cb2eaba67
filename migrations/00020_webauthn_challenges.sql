-- +goose Up
-- What an authenticator is asked to sign. A challenge that was used has no row.
CREATE TABLE webauthn_challenges (
    challenge_hash bytea          NOT NULL, -- SHA-256 of 256 random bits
    ceremony       text           NOT NULL,
    user_id        uuid,                    -- whose ceremony it is; null while nobody knows who signs in
    bound_to       bytea,                   -- the session, or the SHA-256 of the mfa_token, that it belongs to
    expires_at     timestamptz(3) NOT NULL,
    CONSTRAINT webauthn_challenges_pkey PRIMARY KEY (challenge_hash),
    CONSTRAINT webauthn_challenges_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT webauthn_challenges_ceremony_check CHECK (ceremony IN ('registration', 'login', 'second_factor', 'reauthentication')),
    CONSTRAINT webauthn_challenges_bound_check CHECK ((ceremony = 'login') = (user_id IS NULL) AND (user_id IS NULL) = (bound_to IS NULL))
);
CREATE INDEX webauthn_challenges_user_id_idx ON webauthn_challenges (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX webauthn_challenges_expires_at_idx ON webauthn_challenges (expires_at);

-- +goose Down
DROP TABLE webauthn_challenges;
