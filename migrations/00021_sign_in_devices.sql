-- +goose Up
-- Whether the refresh tokens of the session travel in a cookie, and so never in a body.
ALTER TABLE sessions ADD COLUMN cookie boolean NOT NULL DEFAULT false;

-- With what an account has signed in from where: the first sign-in of each pair is told to its owner by mail.
-- A pair that is there already costs a look-up and no write.
CREATE TABLE sign_in_agents (
    user_id      uuid           NOT NULL,
    network      cidr           NOT NULL, -- IPv4 /32, IPv6 /64
    family       text           NOT NULL, -- of the user agent, without versions: Firefox on Linux
    first_at     timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT sign_in_agents_pkey PRIMARY KEY (user_id, network, family),
    CONSTRAINT sign_in_agents_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

-- +goose Down
DROP TABLE sign_in_agents;
ALTER TABLE sessions DROP COLUMN cookie;
