-- +goose Up
-- The outbox of mails: a row is written in the transaction of what the mail tells.
CREATE TABLE mail_messages (
    id         uuid           NOT NULL,
    user_id    uuid,
    template   text           NOT NULL,
    locale     text           NOT NULL,
    recipient  text,                     -- emptied with the payload
    payload    bytea,                    -- sealed by the master key; emptied when the mail has been handed over
    message_id text           NOT NULL,  -- RFC 5322 Message-ID, the same at each attempt
    state      text           NOT NULL DEFAULT 'queued',
    attempts   int            NOT NULL DEFAULT 0,
    last_error text,
    expires_at timestamptz(3),           -- not sent after this
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    sent_at    timestamptz(3),
    CONSTRAINT mail_messages_pkey PRIMARY KEY (id),
    CONSTRAINT mail_messages_message_id_key UNIQUE (message_id),
    CONSTRAINT mail_messages_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT mail_messages_state_check CHECK (state IN ('queued', 'sent', 'failed', 'canceled'))
);
CREATE INDEX mail_messages_user_id_idx ON mail_messages (user_id);
CREATE INDEX mail_messages_created_at_idx ON mail_messages (created_at);

-- +goose Down
DROP TABLE mail_messages;
