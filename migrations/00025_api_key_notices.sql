-- What owners of keys have been told, so that each is told once, over all replicas; and which of a key's secrets is the
-- current one: the one without an end.

-- +goose Up
ALTER TABLE api_keys
    ADD COLUMN warned_early_for timestamptz(3), -- the expiry that the mail 14 days before was about
    ADD COLUMN warned_late_for  timestamptz(3); -- and the one a day before
ALTER TABLE api_key_secrets
    ADD COLUMN warned_at timestamptz(3); -- that it is still used near its end
CREATE INDEX api_keys_expires_at_idx ON api_keys (expires_at) WHERE revoked_at IS NULL AND quarantined_at IS NULL;
CREATE INDEX api_key_secrets_expires_at_idx ON api_key_secrets (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX api_key_secrets_current_key ON api_key_secrets (key_id) WHERE expires_at IS NULL;

-- +goose Down
DROP INDEX api_key_secrets_current_key;
DROP INDEX api_key_secrets_expires_at_idx;
DROP INDEX api_keys_expires_at_idx;
ALTER TABLE api_key_secrets DROP COLUMN warned_at;
ALTER TABLE api_keys DROP COLUMN warned_late_for, DROP COLUMN warned_early_for;
