-- +goose Up
-- Answers kept for repeats. A row without an answer is a request in flight: it holds until its lease ends.
CREATE TABLE idempotency_keys (
    key         bytea          NOT NULL, -- HMAC of caller, route and the header
    fingerprint bytea          NOT NULL, -- HMAC of the body
    holder      uuid           NOT NULL, -- the request that has it
    leased_until timestamptz(3) NOT NULL,
    status      int,
    answer      bytea,                   -- sealed by the master key, bound to the caller
    created_at  timestamptz(3) NOT NULL DEFAULT now(),
    expires_at  timestamptz(3) NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key)
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);

-- +goose Down
DROP TABLE idempotency_keys;
