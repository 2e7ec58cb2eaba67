-- +goose Up
CREATE TABLE permissions (
    name        text           NOT NULL,
    description text,
    system      boolean        NOT NULL DEFAULT false,
    created_at  timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT permissions_pkey PRIMARY KEY (name)
);

CREATE TABLE roles (
    id          uuid           NOT NULL DEFAULT gen_random_uuid(),
    name        text           NOT NULL,
    description text,
    require_mfa boolean        NOT NULL DEFAULT false,
    system      boolean        NOT NULL DEFAULT false,
    version     bigint         NOT NULL DEFAULT 1,
    created_at  timestamptz(3) NOT NULL DEFAULT now(),
    updated_at  timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT roles_pkey PRIMARY KEY (id),
    CONSTRAINT roles_name_key UNIQUE (name)
);

-- A role's own grants: names of permissions, and the wildcards resource:* and *.
CREATE TABLE role_permissions (
    role_id    uuid NOT NULL,
    permission text NOT NULL,
    CONSTRAINT role_permissions_pkey PRIMARY KEY (role_id, permission),
    CONSTRAINT role_permissions_role_id_fkey FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE
);
CREATE INDEX role_permissions_permission_idx ON role_permissions (permission);

CREATE TABLE role_inherits (
    role_id     uuid NOT NULL,
    inherits_id uuid NOT NULL,
    CONSTRAINT role_inherits_pkey PRIMARY KEY (role_id, inherits_id),
    CONSTRAINT role_inherits_role_id_fkey FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE,
    CONSTRAINT role_inherits_inherits_id_fkey FOREIGN KEY (inherits_id) REFERENCES roles (id),
    CONSTRAINT role_inherits_check CHECK (role_id <> inherits_id)
);
CREATE INDEX role_inherits_inherits_id_idx ON role_inherits (inherits_id);

-- The role `user` is implied by a human's status and has no rows here.
CREATE TABLE user_roles (
    user_id    uuid           NOT NULL,
    role_id    uuid           NOT NULL,
    expires_at timestamptz(3),
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role_id),
    CONSTRAINT user_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_roles_role_id_fkey FOREIGN KEY (role_id) REFERENCES roles (id)
);
CREATE INDEX user_roles_role_id_idx ON user_roles (role_id, user_id);

INSERT INTO permissions (name, description, system) VALUES
    ('users:read', 'Read every user', true),
    ('users:write', 'Create and change users, suspend and reactivate them, end their sessions', true),
    ('users:delete', 'Delete users', true),
    ('users:import', 'Import users in bulk', true),
    ('users:export', 'Export users in bulk', true),
    ('profiles:read', 'Read every profile, private ones too', true),
    ('profiles:write', 'Change every profile', true),
    ('roles:read', 'Read roles, permissions and who holds them', true),
    ('roles:write', 'Create, change and delete roles and permissions', true),
    ('roles:assign', 'Give roles to users and take them away', true),
    ('api_keys:read', 'Read the API keys of everyone', true),
    ('api_keys:write', 'Create keys for service accounts, change and revoke the keys of everyone', true),
    ('api_keys:verify', 'Verify API keys that others present', true),
    ('audit:read', 'Read the audit log', true),
    ('mail:read', 'Read the state of mails', true),
    ('webhooks:read', 'Read webhooks and their deliveries', true),
    ('webhooks:write', 'Create, change and delete webhooks', true),
    ('tokens:introspect', 'Ask whether a token is active', true),
    ('me:read', 'Read one''s own account and profile', true),
    ('me:write', 'Change one''s own account and profile', true);

INSERT INTO roles (id, name, description, system) VALUES
    ('00000000-0000-7000-8000-000000000001', 'admin', 'May do everything', true),
    ('00000000-0000-7000-8000-000000000002', 'user', 'Everyone, from activation on', true);
INSERT INTO role_permissions (role_id, permission) VALUES
    ('00000000-0000-7000-8000-000000000001', '*'),
    ('00000000-0000-7000-8000-000000000002', 'me:read'),
    ('00000000-0000-7000-8000-000000000002', 'me:write');

-- +goose Down
DROP TABLE user_roles;
DROP TABLE role_inherits;
DROP TABLE role_permissions;
DROP TABLE roles;
DROP TABLE permissions;
