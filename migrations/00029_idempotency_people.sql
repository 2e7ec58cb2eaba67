-- Whose a kept answer is: who asked, and whom it is about, so that it goes when they are erased.

-- +goose Up
ALTER TABLE idempotency_keys
    ADD COLUMN caller_id  uuid, -- null: nobody was signed in
    ADD COLUMN subject_id uuid; -- null: nobody in particular
CREATE INDEX idempotency_keys_caller_id_idx ON idempotency_keys (caller_id) WHERE caller_id IS NOT NULL;
CREATE INDEX idempotency_keys_subject_id_idx ON idempotency_keys (subject_id) WHERE subject_id IS NOT NULL;

-- +goose Down
ALTER TABLE idempotency_keys DROP COLUMN subject_id, DROP COLUMN caller_id;
