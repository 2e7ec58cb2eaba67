-- Imports of accounts. Lines wait here, sealed, since they hold password hashes; each goes in the transaction of its effect,
-- so that what is left is what is still to be done.

-- +goose Up
CREATE TABLE imports (
    id           uuid           NOT NULL,
    actor_type   text           NOT NULL,
    actor_id     uuid,                                       -- the account; null: the service's command line
    key_id       uuid,                                       -- of an API key
    actor_label  text           NOT NULL,
    status       text           NOT NULL DEFAULT 'receiving',
    reason       text,                                       -- why it failed: a code
    on_conflict  text           NOT NULL,
    dry_run      boolean        NOT NULL,
    total        bigint         NOT NULL DEFAULT 0,
    processed    bigint         NOT NULL DEFAULT 0,
    created      bigint         NOT NULL DEFAULT 0,
    updated      bigint         NOT NULL DEFAULT 0,
    skipped      bigint         NOT NULL DEFAULT 0,
    failed       bigint         NOT NULL DEFAULT 0,
    received_at  timestamptz(3) NOT NULL DEFAULT now(),      -- when lines last came
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    finished_at  timestamptz(3),
    CONSTRAINT imports_pkey PRIMARY KEY (id),
    CONSTRAINT imports_actor_fkey FOREIGN KEY (actor_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT imports_status_check CHECK (status IN ('receiving', 'waiting', 'running', 'done', 'failed')),
    CONSTRAINT imports_on_conflict_check CHECK (on_conflict IN ('skip', 'update'))
);
CREATE INDEX imports_actor_id_idx ON imports (actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX imports_created_at_idx ON imports (created_at);

CREATE TABLE import_lines (
    import_id uuid   NOT NULL,
    line      bigint NOT NULL, -- from 1
    sealed    bytea  NOT NULL, -- under the master key, bound to import and line
    CONSTRAINT import_lines_pkey PRIMARY KEY (import_id, line),
    CONSTRAINT import_lines_import_fkey FOREIGN KEY (import_id) REFERENCES imports (id) ON DELETE CASCADE
);

-- What was wrong with a line: pointers and codes, never its values.
CREATE TABLE import_errors (
    import_id uuid   NOT NULL,
    line      bigint NOT NULL,
    code      text   NOT NULL,
    errors    jsonb  NOT NULL,
    CONSTRAINT import_errors_pkey PRIMARY KEY (import_id, line),
    CONSTRAINT import_errors_import_fkey FOREIGN KEY (import_id) REFERENCES imports (id) ON DELETE CASCADE
);

-- +goose Down
DROP TABLE import_errors;
DROP TABLE import_lines;
DROP TABLE imports;
