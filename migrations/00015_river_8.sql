-- The job queue's schema, version 8: River's own migration (github.com/riverqueue/river, MPL-2.0), so that there
-- is one history under one lock.

-- +goose Up
-- No-op. Postgres sequences already prevent automatically generated job IDs
-- from being reused.
SELECT 1;

-- +goose Down
-- No-op. Postgres sequences already prevent automatically generated job IDs
-- from being reused.
SELECT 1;
