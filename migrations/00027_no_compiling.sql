-- +goose Up
-- What follows inheritance is recursive, and the planner expects so many rows of it that it compiles the statement: half a
-- second for an answer that takes a millisecond. A session that is the pool's own sets the same itself.
-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL ROLE ums_app;
    EXECUTE format('ALTER ROLE ums_app IN DATABASE %I SET jit = off', current_database());
    RESET ROLE;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
    SET LOCAL ROLE ums_app;
    EXECUTE format('ALTER ROLE ums_app IN DATABASE %I RESET jit', current_database());
    RESET ROLE;
END
$$;
-- +goose StatementEnd
