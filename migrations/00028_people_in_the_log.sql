-- What people may ask of the log, and what an erasure takes with it.

-- +goose Up
-- A person's own events, newest first, without reading all of them.
DROP INDEX audit_personal_subject_id_idx;
CREATE INDEX audit_personal_subject_id_idx ON audit_personal (subject_id, event_time, event_id) WHERE subject_id IS NOT NULL;

-- Who was erased of late: a request that was under way may have written of him after it.
CREATE TABLE recent_erasures (
    subject_id uuid           NOT NULL,
    erased_at  timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT recent_erasures_pkey PRIMARY KEY (subject_id)
);

-- Empties one person's rows: the ids and the commitments stay. Attempts at his account that nobody answers for are his as
-- well when they came from an address, or with a program, that he is known by; those of strangers stay.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_erase(subject uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    erased  bigint;
    attempts bigint;
BEGIN
    UPDATE audit_personal p
       SET salt = NULL, label = NULL, ip = NULL, user_agent = NULL, reason = NULL, changes = NULL
      FROM audit_events e
     WHERE e.target_id = subject AND e.actor_type = 'anonymous'
       AND p.event_id = e.id AND p.event_time = e.time AND p.subject_role = 'actor' AND p.subject_id IS NULL AND p.salt IS NOT NULL
       AND (p.ip IN (SELECT ip FROM audit_personal WHERE subject_id = subject AND subject_role = 'actor' AND ip IS NOT NULL)
         OR p.user_agent IN (SELECT user_agent FROM audit_personal WHERE subject_id = subject AND subject_role = 'actor' AND user_agent IS NOT NULL));
    GET DIAGNOSTICS attempts = ROW_COUNT;
    UPDATE audit_personal
       SET salt = NULL, label = NULL, ip = NULL, user_agent = NULL, reason = NULL, changes = NULL
     WHERE subject_id = subject AND salt IS NOT NULL;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased + attempts;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_erase(subject uuid) RETURNS bigint
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
DROP TABLE recent_erasures;
DROP INDEX audit_personal_subject_id_idx;
CREATE INDEX audit_personal_subject_id_idx ON audit_personal (subject_id) WHERE subject_id IS NOT NULL;
