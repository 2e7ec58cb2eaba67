-- Profiles are listed, searched and filtered as accounts are: the account's creation stands beside each, and what is
-- looked for has an index. Sign-ins do not touch this table, so the trigrams may stand in it.

-- +goose Up
ALTER TABLE profiles ADD COLUMN user_created_at timestamptz(3);
UPDATE profiles p SET user_created_at = u.created_at FROM users u WHERE u.id = p.user_id;
-- +goose StatementBegin
CREATE FUNCTION profiles_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.user_created_at := (SELECT created_at FROM public.users WHERE id = NEW.user_id);
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER profiles_place BEFORE INSERT ON profiles FOR EACH ROW EXECUTE FUNCTION profiles_place();
CREATE INDEX profiles_order_idx ON profiles (user_created_at, user_id);
CREATE INDEX profiles_public_idx ON profiles (user_created_at, user_id) WHERE visibility = 'public';
DROP INDEX profiles_created_at_idx;

-- Equality of any attribute, for all names at once.
CREATE INDEX profiles_attributes_idx ON profiles USING gin (attributes jsonb_path_ops);

-- +goose StatementBegin
CREATE FUNCTION profile_names(given_name text, family_name text, nickname text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(coalesce(given_name, '') || ' ' || coalesce(family_name, '') || E'\n' || coalesce(nickname, ''))
$$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('CREATE INDEX profiles_names_idx ON profiles USING gin (profile_names(given_name, family_name, nickname) %I.gin_trgm_ops)'
        ' WITH (gin_pending_list_limit = 512)',
        (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'));
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX profiles_names_idx;
DROP FUNCTION profile_names(text, text, text);
DROP INDEX profiles_attributes_idx;
CREATE INDEX profiles_created_at_idx ON profiles (created_at, user_id);
DROP INDEX profiles_public_idx;
DROP INDEX profiles_order_idx;
DROP TRIGGER profiles_place ON profiles;
DROP FUNCTION profiles_place();
ALTER TABLE profiles DROP COLUMN user_created_at;
