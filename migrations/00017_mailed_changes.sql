-- What a mailed token gives its account beyond a proof: another address; and whose word an invitation is.

-- +goose Up
ALTER TABLE one_time_tokens
    ADD COLUMN gives_email   text,   -- of a change the new address, of its undoing the old one, as they are spelled
    ADD COLUMN invited_by    uuid,   -- the account that sent the invitation; null: the service's operator
    ADD COLUMN invited_roles uuid[], -- what the account held when it was invited
    ADD CONSTRAINT one_time_tokens_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES users (id) ON DELETE CASCADE;
CREATE INDEX one_time_tokens_invited_by_idx ON one_time_tokens (invited_by) WHERE invited_by IS NOT NULL;

-- +goose Down
ALTER TABLE one_time_tokens
    DROP COLUMN invited_roles,
    DROP COLUMN invited_by,
    DROP COLUMN gives_email;
