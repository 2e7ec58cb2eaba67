-- What keys did, counted by day (UTC). Rows of an outcome are by reason, '' for what was allowed; rows of kind
-- 'permission' are the permissions that were actually used. Replicas add to them in batches.

-- +goose Up
CREATE TABLE api_key_usage (
    key_id uuid   NOT NULL,
    day    date   NOT NULL,
    kind   text   NOT NULL,
    name   text   NOT NULL,
    count  bigint NOT NULL,
    CONSTRAINT api_key_usage_pkey PRIMARY KEY (key_id, day, kind, name),
    CONSTRAINT api_key_usage_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys (id) ON DELETE CASCADE,
    CONSTRAINT api_key_usage_kind_check CHECK (kind IN ('allowed', 'denied', 'limited', 'permission'))
);
CREATE INDEX api_key_usage_day_idx ON api_key_usage (day);

-- +goose Down
DROP TABLE api_key_usage;
