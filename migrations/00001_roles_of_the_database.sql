-- The role that the service works as. It owns nothing; what it may do is granted table by table.
-- Roles belong to the whole cluster, so another database may have made it already.

-- +goose Up
-- +goose StatementBegin
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ums_app') THEN
        BEGIN
            CREATE ROLE ums_app NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- a migration of another database was faster
        END;
    END IF;
    -- SET ROLE needs membership, which CREATE ROLE alone does not give before PostgreSQL 16.
    IF NOT pg_has_role(current_user, 'ums_app', 'MEMBER') OR NOT EXISTS (
        SELECT FROM pg_auth_members WHERE roleid = 'ums_app'::regrole AND member = current_user::regrole) THEN
        EXECUTE format('GRANT ums_app TO %I', current_user);
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
BEGIN
    -- A login of this role that comes through a pooler gets the pool's settings from here. Every role may set its own;
    -- anybody else's needs CREATEROLE, which managed databases withhold.
    SET LOCAL ROLE ums_app;
    EXECUTE format('ALTER ROLE ums_app IN DATABASE %I SET statement_timeout = ''5s''', current_database());
    EXECUTE format('ALTER ROLE ums_app IN DATABASE %I SET lock_timeout = ''2s''', current_database());
    EXECUTE format('ALTER ROLE ums_app IN DATABASE %I SET idle_in_transaction_session_timeout = ''10s''', current_database());
    EXECUTE format('ALTER ROLE ums_app IN DATABASE %I SET timezone = ''UTC''', current_database());
    RESET ROLE;
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO ums_app', current_database());
END
$$;
-- +goose StatementEnd
GRANT USAGE ON SCHEMA public TO ums_app;

-- What later migrations create is the service's to use; the audit log takes back what it must not do.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ums_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO ums_app;

-- +goose Down
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE USAGE, SELECT ON SEQUENCES FROM ums_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM ums_app;
REVOKE USAGE ON SCHEMA public FROM ums_app;
-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL ROLE ums_app;
    EXECUTE format('ALTER ROLE ums_app IN DATABASE %I RESET ALL', current_database());
    RESET ROLE;
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM ums_app', current_database());
END
$$;
-- +goose StatementEnd
-- The role itself stays: another database of the cluster may work with it.
