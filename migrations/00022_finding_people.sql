-- Lists at a million accounts: every order and filter that the API offers walks an index, and a search of three
-- characters or more has its trigrams.

-- +goose Up
-- +goose StatementBegin
DO $$
BEGIN
    -- A trusted extension: the owner of the database may create it.
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'searching needs the extension pg_trgm, which % may not create', current_user
            USING HINT = 'Have an administrator run in this database: CREATE EXTENSION pg_trgm;';
    WHEN undefined_file OR feature_not_supported THEN
        RAISE EXCEPTION 'searching needs the extension pg_trgm, which this server does not have'
            USING HINT = 'Install PostgreSQL''s contrib package on the server, or allow the extension, and start again.';
END
$$;
-- +goose StatementEnd

-- What a search looks at, apart from the accounts: each sign-in writes its time into the account's row, and with it an
-- entry into every index of that table, which for trigrams would cost more than the sign-in.
CREATE TABLE user_search (
    user_id    uuid           NOT NULL,
    created_at timestamptz(3) NOT NULL, -- the account's
    content    text           NOT NULL, -- name and address in lower case, a line each
    CONSTRAINT user_search_pkey PRIMARY KEY (user_id),
    CONSTRAINT user_search_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO user_search (user_id, created_at, content)
SELECT id, created_at, lower(coalesce(display_name, '')) || E'\n' || coalesce(email_norm, '') FROM users;
-- +goose StatementBegin
DO $$
BEGIN
    -- An administrator may have put the extension into a schema of its own. What waits to be sorted in (kB) is read by
    -- every search, so it stays short.
    EXECUTE format('CREATE INDEX user_search_content_idx ON user_search USING gin (content %I.gin_trgm_ops) WITH (gin_pending_list_limit = 512)',
        (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'));
END
$$;
-- +goose StatementEnd

-- By triggers, so that whatever writes accounts, a bulk load included, keeps it. One statement a statement.
-- +goose StatementBegin
CREATE FUNCTION user_search_add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.user_search (user_id, created_at, content)
    SELECT id, created_at, lower(coalesce(display_name, '')) || E'\n' || coalesce(email_norm, '') FROM made;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION user_search_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.user_search
    SET created_at = NEW.created_at, content = lower(coalesce(NEW.display_name, '')) || E'\n' || coalesce(NEW.email_norm, '')
    WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER users_search_add AFTER INSERT ON users
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION user_search_add();
CREATE TRIGGER users_search_change AFTER UPDATE OF display_name, email_norm, created_at ON users FOR EACH ROW
    WHEN ((OLD.display_name, OLD.email_norm, OLD.created_at) IS DISTINCT FROM (NEW.display_name, NEW.email_norm, NEW.created_at))
    EXECUTE FUNCTION user_search_change();

-- The few who are not active, or no people: their lists must not walk past everybody else.
CREATE INDEX users_status_email_idx ON users (status, email_norm, id) WHERE status <> 'active';
CREATE INDEX users_status_last_login_at_idx ON users (status, last_login_at, id) WHERE status <> 'active';
CREATE INDEX users_service_created_at_idx ON users (created_at, id) WHERE kind <> 'human';
CREATE INDEX users_service_last_login_at_idx ON users (last_login_at, id) WHERE kind <> 'human';
CREATE INDEX users_service_id_idx ON users (id) WHERE email_norm IS NULL;

-- Who holds a role, newest account first: the account's creation stands beside the assignment. It never changes.
ALTER TABLE user_roles ADD COLUMN user_created_at timestamptz(3);
UPDATE user_roles ur SET user_created_at = u.created_at FROM users u WHERE u.id = ur.user_id;
-- +goose StatementBegin
CREATE FUNCTION user_roles_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.user_created_at := (SELECT created_at FROM public.users WHERE id = NEW.user_id);
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER user_roles_place BEFORE INSERT ON user_roles FOR EACH ROW EXECUTE FUNCTION user_roles_place();
CREATE INDEX user_roles_holders_idx ON user_roles (role_id, user_created_at, user_id);
DROP INDEX user_roles_role_id_idx;

-- +goose Down
CREATE INDEX user_roles_role_id_idx ON user_roles (role_id, user_id);
DROP INDEX user_roles_holders_idx;
DROP TRIGGER user_roles_place ON user_roles;
DROP FUNCTION user_roles_place();
ALTER TABLE user_roles DROP COLUMN user_created_at;
DROP INDEX users_service_id_idx;
DROP INDEX users_service_last_login_at_idx;
DROP INDEX users_service_created_at_idx;
DROP INDEX users_status_last_login_at_idx;
DROP INDEX users_status_email_idx;
DROP TRIGGER users_search_change ON users;
DROP TRIGGER users_search_add ON users;
DROP FUNCTION user_search_change();
DROP FUNCTION user_search_add();
DROP TABLE user_search;
-- +goose StatementBegin
DO $$
BEGIN
    DROP EXTENSION pg_trgm;
EXCEPTION WHEN insufficient_privilege OR dependent_objects_still_exist THEN
    NULL; -- somebody else's, or somebody else needs it
END
$$;
-- +goose StatementEnd
