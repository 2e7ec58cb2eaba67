-- Whether an earlier address of the account was proven. An administrator who corrects an address makes the new one
-- unproven, but not the account: what its owner has set up stays his when the new mailbox recovers it.

-- +goose Up
ALTER TABLE users ADD COLUMN was_verified boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE users DROP COLUMN was_verified;
