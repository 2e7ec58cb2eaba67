-- Profiles are searched as accounts are: what is compared and what is indexed stand in the row, made once at each change,
-- and the indexes in the order of the list hold the names.

-- +goose Up
ALTER TABLE profiles
    ADD COLUMN names text NOT NULL GENERATED ALWAYS AS (public.profile_names(given_name, family_name, nickname)) STORED,
    ADD COLUMN coded text NOT NULL GENERATED ALWAYS AS (public.search_code(public.profile_names(given_name, family_name, nickname))) STORED;
DROP INDEX profiles_names_idx;
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('CREATE INDEX profiles_coded_idx ON profiles USING gin (coded %I.gin_trgm_ops) WITH (gin_pending_list_limit = 1024)',
        (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'));
END
$$;
-- +goose StatementEnd
DROP INDEX profiles_order_idx;
CREATE INDEX profiles_order_idx ON profiles (user_created_at, user_id) INCLUDE (names);
DROP INDEX profiles_public_idx;
CREATE INDEX profiles_public_idx ON profiles (user_created_at, user_id) INCLUDE (names) WHERE visibility = 'public';
ALTER TABLE profiles SET (autovacuum_vacuum_insert_scale_factor = 0.02);

-- +goose Down
ALTER TABLE profiles RESET (autovacuum_vacuum_insert_scale_factor);
DROP INDEX profiles_public_idx;
CREATE INDEX profiles_public_idx ON profiles (user_created_at, user_id) WHERE visibility = 'public';
DROP INDEX profiles_order_idx;
CREATE INDEX profiles_order_idx ON profiles (user_created_at, user_id);
DROP INDEX profiles_coded_idx;
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('CREATE INDEX profiles_names_idx ON profiles USING gin (profile_names(given_name, family_name, nickname) %I.gin_trgm_ops)'
        ' WITH (gin_pending_list_limit = 512)',
        (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'));
END
$$;
-- +goose StatementEnd
ALTER TABLE profiles DROP COLUMN coded, DROP COLUMN names;
