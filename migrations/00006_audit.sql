-- The audit log. audit_events says what happened and commits to the personal data of each person in it;
-- audit_personal holds that data. Erasing a person empties his rows there and nothing else: the log still verifies.

-- +goose Up
CREATE TABLE audit_events (
    id                uuid           NOT NULL,
    time              timestamptz(3) NOT NULL DEFAULT now(),
    action            text           NOT NULL,
    outcome           text           NOT NULL,
    actor_type        text           NOT NULL,
    actor_id          uuid,
    target_type       text,
    target_id         uuid,
    request_id        text,
    xact_id           xid8           NOT NULL DEFAULT pg_current_xact_id(), -- orders what readers may see as settled
    actor_commitment  bytea,                                               -- SHA-256(salt || canonical data)
    target_commitment bytea,
    CONSTRAINT audit_events_pkey PRIMARY KEY (id, time),
    CONSTRAINT audit_events_outcome_check CHECK (outcome IN ('success', 'denied', 'failure')),
    CONSTRAINT audit_events_actor_type_check CHECK (actor_type IN ('user', 'api_key', 'system', 'anonymous'))
) PARTITION BY RANGE (time);
CREATE INDEX audit_events_time_idx ON audit_events (time, id);
CREATE INDEX audit_events_actor_id_idx ON audit_events (actor_id, time);
CREATE INDEX audit_events_target_id_idx ON audit_events (target_id, time);

CREATE TABLE audit_personal (
    event_id     uuid           NOT NULL,
    event_time   timestamptz(3) NOT NULL DEFAULT now(),
    subject_role text           NOT NULL,
    subject_id   uuid,                    -- null: an anonymous actor
    salt         bytea,                   -- 32 bytes; emptied with the row
    label        text,
    ip           text,
    user_agent   text,
    reason       text,
    changes      jsonb,
    CONSTRAINT audit_personal_pkey PRIMARY KEY (event_id, subject_role, event_time),
    CONSTRAINT audit_personal_role_check CHECK (subject_role IN ('actor', 'target'))
) PARTITION BY RANGE (event_time);
CREATE INDEX audit_personal_subject_id_idx ON audit_personal (subject_id) WHERE subject_id IS NOT NULL;

-- Makes the partitions of the current month and the next `ahead` ones; safe to call at any time, from anywhere.
-- +goose StatementBegin
CREATE FUNCTION audit_ensure_partitions(ahead int DEFAULT 3) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    start_of date;
    parent   text;
BEGIN
    PERFORM pg_advisory_xact_lock(7221943001);
    -- One month back too: a transaction that began before midnight of the first carries its own time.
    FOR i IN -1 .. least(greatest(ahead, 1), 24) LOOP
        start_of := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i);
        FOREACH parent IN ARRAY ARRAY['audit_events', 'audit_personal'] LOOP
            IF to_regclass(parent || '_' || to_char(start_of, 'YYYY_MM')) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    parent || '_' || to_char(start_of, 'YYYY_MM'), parent,
                    start_of::text || ' 00:00:00+00', (start_of + interval '1 month')::date::text || ' 00:00:00+00');
                EXECUTE format('REVOKE ALL ON %I FROM ums_app', parent || '_' || to_char(start_of, 'YYYY_MM'));
            END IF;
        END LOOP;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Empties one person's rows: the ids and the commitments stay.
-- +goose StatementBegin
CREATE FUNCTION audit_erase(subject uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    UPDATE audit_personal
       SET salt = NULL, label = NULL, ip = NULL, user_agent = NULL, reason = NULL, changes = NULL
     WHERE subject_id = subject AND salt IS NOT NULL;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;
-- +goose StatementEnd

-- The service appends and reads; it can neither change nor remove.
REVOKE ALL ON audit_events, audit_personal FROM ums_app;
GRANT SELECT, INSERT ON audit_events, audit_personal TO ums_app;
REVOKE ALL ON FUNCTION audit_ensure_partitions(int), audit_erase(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_ensure_partitions(int), audit_erase(uuid) TO ums_app;
SELECT audit_ensure_partitions();

-- +goose Down
DROP FUNCTION audit_erase(uuid);
DROP FUNCTION audit_ensure_partitions(int);
DROP TABLE audit_personal;
DROP TABLE audit_events;
