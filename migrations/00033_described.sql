-- What tables, columns and indexes are for, where whoever looks into the database finds it; the page
-- docs/development/database.md is made of it. Later migrations bring the comments of what they make. Two indexes had
-- nothing to say for themselves: no statement reads them, and one was written at each sign-in.

-- +goose Up
DROP INDEX sessions_created_at_idx;
DROP INDEX imports_created_at_idx;

COMMENT ON TABLE users IS 'Accounts, one row a person or program, and enough by itself. Names of columns are fixed: operators report on them.';
COMMENT ON COLUMN users.email IS 'as typed, with an A-label domain; mail goes here';
COMMENT ON COLUMN users.email_norm IS 'lower case; the identity';
COMMENT ON COLUMN users.password_hash IS 'PHC string; null = no password';
COMMENT ON COLUMN users.metadata IS 'the owner''s';
COMMENT ON COLUMN users.app_metadata IS 'the application''s';
COMMENT ON COLUMN users.auth_epoch IS 'recovery raises it; what was issued before is dead';
COMMENT ON COLUMN users.version IS 'the ETag';
COMMENT ON COLUMN users.deleted_at IS 'when deletion was asked for';
COMMENT ON COLUMN users.kind IS 'human, or service: a program, which has no address and no password';
COMMENT ON COLUMN users.status IS 'active, pending (nothing proven yet), suspended, deleting (within the grace)';
COMMENT ON COLUMN users.external_id IS 'another system''s name for the account';
COMMENT ON COLUMN users.mfa_enabled IS 'whether a second factor is active: kept beside mfa_factors for lists';
COMMENT ON COLUMN users.was_verified IS 'whether an earlier address was proven';
COMMENT ON COLUMN users.last_login_at IS 'the newest sign-in; a statistic, no part of the version';

COMMENT ON TABLE user_search IS 'What searches compare, apart from users: a sign-in writes to its row there, and would pay for every index of it.';
COMMENT ON COLUMN user_search.created_at IS 'the account''s';
COMMENT ON COLUMN user_search.content IS 'name and address in lower case, a line each';
COMMENT ON COLUMN user_search.coded IS 'content with marks and spaces as letters, for trigrams: generated';

COMMENT ON TABLE registration_attempts IS 'Claims on an address, each with a password of its own, until one is proven.';
COMMENT ON COLUMN registration_attempts.registration_id_hash IS 'SHA-256 of what the registrant holds';

COMMENT ON TABLE one_time_tokens IS 'Tokens and codes by mail. Consumed by a conditional update in the transaction of their effect.';
COMMENT ON COLUMN one_time_tokens.token_hash IS 'SHA-256 of 256 random bits; of a code: HMAC with the attempt''s id';
COMMENT ON COLUMN one_time_tokens.attempt_id IS 'the registration attempt that it proves';
COMMENT ON COLUMN one_time_tokens.email_norm IS 'the address that it was mailed to';
COMMENT ON COLUMN one_time_tokens.gives_email IS 'of a change the new address, of its undoing the old one, as they are spelled';
COMMENT ON COLUMN one_time_tokens.invited_by IS 'the account that sent the invitation; null: the service''s operator';
COMMENT ON COLUMN one_time_tokens.invited_roles IS 'what the account held when it was invited';
COMMENT ON COLUMN one_time_tokens.purpose IS 'what it is for; part of the key, so that no token serves another purpose';
COMMENT ON COLUMN one_time_tokens.auth_epoch IS 'the account''s when it was mailed; a higher one voids it';
COMMENT ON COLUMN one_time_tokens.used_at IS 'null while it can be used';

COMMENT ON TABLE profiles IS 'What people tell about themselves. Without a row a profile is empty and private.';
COMMENT ON COLUMN profiles.avatar IS 'the unguessable part of the picture''s path, new at each change';
COMMENT ON COLUMN profiles.visibility IS 'private, or public to whoever is signed in';
COMMENT ON COLUMN profiles.attributes IS 'the operator''s own fields, checked against UMS_PROFILE_SCHEMA';
COMMENT ON COLUMN profiles.user_created_at IS 'the account''s creation, by which lists go';
COMMENT ON COLUMN profiles.names IS 'what a search compares: generated';
COMMENT ON COLUMN profiles.coded IS 'names with marks and spaces as letters, for trigrams: generated';

COMMENT ON TABLE avatar_pictures IS 'Pictures of avatars, unless an object store has them. One that no profile names is not served, and is swept.';
COMMENT ON COLUMN avatar_pictures.name IS 'avatar/size';

COMMENT ON TABLE sessions IS 'Sessions; one that has ended has no row.';
COMMENT ON COLUMN sessions.secret_hash IS 'SHA-256 of the secret inside its refresh tokens';
COMMENT ON COLUMN sessions.secret_sealed IS 'the secret, sealed by the master key: a reauthentication names the current token again';
COMMENT ON COLUMN sessions.counter IS 'of the newest refresh token';
COMMENT ON COLUMN sessions.expires_at IS 'absolute';
COMMENT ON COLUMN sessions.auth_time IS 'of the newest authentication, which fresh calls need';
COMMENT ON COLUMN sessions.acr IS 'aal1, aal2';
COMMENT ON COLUMN sessions.auth_epoch IS 'the account''s at the start; a higher one ends the session';
COMMENT ON COLUMN sessions.cookie IS 'its refresh tokens travel in a cookie, never in a body';

COMMENT ON TABLE sign_in_networks IS 'From where accounts have signed in: owners get in from there while strangers burn their failures elsewhere.';
COMMENT ON COLUMN sign_in_networks.network IS 'IPv4 /32, IPv6 /64';

COMMENT ON TABLE sign_in_agents IS 'With what accounts have signed in from where; the first sign-in of each pair is told by mail.';
COMMENT ON COLUMN sign_in_agents.network IS 'IPv4 /32, IPv6 /64';
COMMENT ON COLUMN sign_in_agents.family IS 'of the user agent, without versions: Firefox on Linux';

COMMENT ON TABLE credential_limits IS 'Counters of guesses and of mails. Keys are HMACs, no address stands here in the clear.';
COMMENT ON COLUMN credential_limits.resets_at IS '''infinity'': until something else than time resets it';

COMMENT ON TABLE signing_keys IS 'Keys that sign access tokens: next, current and recently retired.';
COMMENT ON COLUMN signing_keys.public_key IS 'PKIX';
COMMENT ON COLUMN signing_keys.private_key IS 'PKCS #8, sealed by the master key';
COMMENT ON COLUMN signing_keys.retires_at IS 'null while it may sign or is next';

COMMENT ON TABLE mfa_factors IS 'Authenticator apps. One that is pending has no activated_at.';
COMMENT ON COLUMN mfa_factors.secret_sealed IS 'sealed by the master key, bound to the account''s and the factor''s id';
COMMENT ON COLUMN mfa_factors.last_step IS 'the time step of the newest code that was used: it only grows';

COMMENT ON TABLE mfa_recovery_codes IS 'Recovery codes that are left; a used one has no row.';
COMMENT ON COLUMN mfa_recovery_codes.code_hash IS 'SHA-256 of 120 random bits';

COMMENT ON TABLE mfa_challenges IS 'Sign-ins that wait for their second factor.';
COMMENT ON COLUMN mfa_challenges.token_hash IS 'SHA-256 of 256 random bits';
COMMENT ON COLUMN mfa_challenges.password_digest IS 'SHA-256 of the password hash that was verified; null: no password was';
COMMENT ON COLUMN mfa_challenges.amr IS 'of the first factor';
COMMENT ON COLUMN mfa_challenges.cookie IS 'the refresh token is wanted as a cookie';

COMMENT ON TABLE passkeys IS 'WebAuthn credentials.';
COMMENT ON COLUMN passkeys.credential_id IS 'the authenticator''s name for it';
COMMENT ON COLUMN passkeys.public_key IS 'COSE';
COMMENT ON COLUMN passkeys.sign_count IS 'of the newest use; 0 from authenticators that do not count';
COMMENT ON COLUMN passkeys.aaguid IS 'the authenticator''s model, all zero when it does not say';
COMMENT ON COLUMN passkeys.backup_eligible IS 'can be synchronised between devices; never changes';

COMMENT ON TABLE webauthn_challenges IS 'What authenticators are asked to sign; a used challenge has no row.';
COMMENT ON COLUMN webauthn_challenges.challenge_hash IS 'SHA-256 of 256 random bits';
COMMENT ON COLUMN webauthn_challenges.user_id IS 'whose ceremony it is; null while nobody knows who signs in';
COMMENT ON COLUMN webauthn_challenges.bound_to IS 'the session, or the SHA-256 of the mfa_token, that it belongs to';

COMMENT ON TABLE roles IS 'Roles. The role user is implied by status and has no holders in user_roles.';
COMMENT ON COLUMN roles.system IS 'built in: cannot be edited or removed';
COMMENT ON COLUMN roles.require_mfa IS 'its human holders need a second factor';

COMMENT ON TABLE permissions IS 'Names of permissions: built in, and those of applications.';

COMMENT ON TABLE role_permissions IS 'What a role grants by itself.';
COMMENT ON COLUMN role_permissions.permission IS 'a name, resource:* or *';

COMMENT ON TABLE role_inherits IS 'From which roles a role inherits. No cycles.';

COMMENT ON TABLE user_roles IS 'Who holds which role, and until when.';
COMMENT ON COLUMN user_roles.expires_at IS 'null: without end; decided in each query';
COMMENT ON COLUMN user_roles.user_created_at IS 'the account''s creation, by which lists of holders go';

COMMENT ON TABLE api_keys IS 'API keys without their secrets. A revoked one stays.';
COMMENT ON COLUMN api_keys.user_id IS 'the owner, whose permissions bound the scopes';
COMMENT ON COLUMN api_keys.created_by IS 'who made it; outlives him as a pseudonym';
COMMENT ON COLUMN api_keys.warned_early_for IS 'the expiry that the mail 14 days before was about';
COMMENT ON COLUMN api_keys.warned_late_for IS 'the expiry that the mail a day before was about';
COMMENT ON COLUMN api_keys.quarantined_at IS 'reported as leaked';
COMMENT ON COLUMN api_keys.rate_limit IS 'requests in rate_window_seconds; null: the limit of callers';

COMMENT ON TABLE api_key_secrets IS 'Secrets of keys, hashed; two while a rotation overlaps.';
COMMENT ON COLUMN api_key_secrets.public_id IS 'the 22 characters by which it is found';
COMMENT ON COLUMN api_key_secrets.secret_hash IS 'SHA-256';
COMMENT ON COLUMN api_key_secrets.expires_at IS 'of this secret: the end of an overlap';
COMMENT ON COLUMN api_key_secrets.warned_at IS 'that it is still used near its end';

COMMENT ON TABLE api_key_usage IS 'What keys did, counted by day (UTC); replicas add in batches.';
COMMENT ON COLUMN api_key_usage.kind IS 'allowed, denied, limited, or permission';
COMMENT ON COLUMN api_key_usage.name IS 'the reason, or the permission that was used';

COMMENT ON TABLE audit_events IS 'The audit log: what happened, with a commitment to the personal data. Append-only; a partition a month.';
COMMENT ON COLUMN audit_events.xact_id IS 'orders what readers may see as settled';
COMMENT ON COLUMN audit_events.actor_commitment IS 'SHA-256(salt || canonical data)';

COMMENT ON TABLE audit_personal IS 'The personal data of the log, a row a person and event; emptied when the person is erased. A partition a month.';
COMMENT ON COLUMN audit_personal.subject_id IS 'null: an anonymous actor';
COMMENT ON COLUMN audit_personal.salt IS '32 bytes; emptied with the row';

COMMENT ON TABLE recent_erasures IS 'Who was erased of late, for events that were under way.';

COMMENT ON TABLE mail_messages IS 'The outbox of mails, written in the transaction of what they tell.';
COMMENT ON COLUMN mail_messages.recipient IS 'emptied with the payload';
COMMENT ON COLUMN mail_messages.payload IS 'sealed by the master key; emptied when the mail has been handed over';
COMMENT ON COLUMN mail_messages.message_id IS 'RFC 5322 Message-ID, the same at each attempt';
COMMENT ON COLUMN mail_messages.expires_at IS 'not sent after this';
COMMENT ON COLUMN mail_messages.state IS 'queued, sent, failed, canceled';

COMMENT ON TABLE idempotency_keys IS 'Answers kept for repeated requests; without an answer, a request in flight.';
COMMENT ON COLUMN idempotency_keys.key IS 'HMAC of caller, route and the header';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'HMAC of the body';
COMMENT ON COLUMN idempotency_keys.holder IS 'the request that has it';
COMMENT ON COLUMN idempotency_keys.answer IS 'sealed by the master key, bound to the caller';
COMMENT ON COLUMN idempotency_keys.caller_id IS 'null: nobody was signed in';
COMMENT ON COLUMN idempotency_keys.subject_id IS 'null: nobody in particular';

COMMENT ON TABLE imports IS 'Imports of accounts, and how far they are.';
COMMENT ON COLUMN imports.actor_id IS 'the account; null: the service''s command line';
COMMENT ON COLUMN imports.key_id IS 'of an API key';
COMMENT ON COLUMN imports.reason IS 'why it failed: a code';
COMMENT ON COLUMN imports.received_at IS 'when lines last came';

COMMENT ON TABLE import_lines IS 'Lines that wait; each goes in the transaction of its effect.';
COMMENT ON COLUMN import_lines.line IS 'from 1';
COMMENT ON COLUMN import_lines.sealed IS 'under the master key, bound to import and line';

COMMENT ON TABLE import_errors IS 'Lines that were not taken.';
COMMENT ON COLUMN import_errors.errors IS 'pointers and codes, never values';

COMMENT ON INDEX users_created_at_idx IS 'Lists, newest first.';
COMMENT ON INDEX users_last_login_at_idx IS 'Lists by sign-in.';
COMMENT ON INDEX users_status_idx IS 'Lists of those who are not active, or no people, without a walk past everybody else; the deletions that are due.';
COMMENT ON INDEX users_status_email_idx IS 'Lists of those who are not active, by address.';
COMMENT ON INDEX users_status_last_login_at_idx IS 'Lists of those who are not active, by sign-in.';
COMMENT ON INDEX users_service_created_at_idx IS 'Lists of programs.';
COMMENT ON INDEX users_service_last_login_at_idx IS 'Lists of programs by sign-in.';
COMMENT ON INDEX users_service_id_idx IS 'Accounts without an address, at the end of lists by address.';
COMMENT ON INDEX user_search_coded_idx IS 'Searches for what is rare.';
COMMENT ON INDEX user_search_order_idx IS 'Searches for what is frequent: the texts in the order of the list.';
COMMENT ON INDEX registration_attempts_user_id_idx IS 'The attempts of an address, newest first.';
COMMENT ON INDEX one_time_tokens_user_id_idx IS 'An account''s tokens of a purpose: a newer one voids the older.';
COMMENT ON INDEX one_time_tokens_attempt_id_idx IS 'Tokens of an attempt, which leave with it.';
COMMENT ON INDEX one_time_tokens_expires_at_idx IS 'Sweeping.';
COMMENT ON INDEX one_time_tokens_invited_by_idx IS 'Invitations of an inviter who loses his rights.';
COMMENT ON INDEX profiles_order_idx IS 'Lists, and searches for names that are frequent.';
COMMENT ON INDEX profiles_public_idx IS 'Lists and searches of those who see public profiles only.';
COMMENT ON INDEX profiles_coded_idx IS 'Searches for names that are rare.';
COMMENT ON INDEX profiles_attributes_idx IS 'Equality of any attribute, for all names at once.';
COMMENT ON INDEX profiles_avatar_key IS 'Serving a picture by its name.';
COMMENT ON INDEX sessions_user_id_idx IS 'An account''s sessions: listing and ending them.';
COMMENT ON INDEX credential_limits_resets_at_idx IS 'Sweeping.';
COMMENT ON INDEX mfa_factors_user_id_idx IS 'An account''s factors.';
COMMENT ON INDEX mfa_factors_pending_key IS 'One factor at most waits for its activation.';
COMMENT ON INDEX mfa_challenges_user_id_idx IS 'Challenges of an account, which leave with it.';
COMMENT ON INDEX mfa_challenges_expires_at_idx IS 'Sweeping.';
COMMENT ON INDEX passkeys_user_id_idx IS 'An account''s passkeys.';
COMMENT ON INDEX webauthn_challenges_user_id_idx IS 'Challenges of an account, which leave with it.';
COMMENT ON INDEX webauthn_challenges_expires_at_idx IS 'Sweeping.';
COMMENT ON INDEX role_permissions_permission_idx IS 'Who grants a permission, before it is removed.';
COMMENT ON INDEX role_inherits_inherits_id_idx IS 'The heirs of a role.';
COMMENT ON INDEX user_roles_holders_idx IS 'The holders of a role, newest account first.';
COMMENT ON INDEX api_keys_user_id_idx IS 'An owner''s keys.';
COMMENT ON INDEX api_keys_created_at_idx IS 'Lists of all keys.';
COMMENT ON INDEX api_keys_expires_at_idx IS 'Keys that end soon, for notices.';
COMMENT ON INDEX api_keys_scopes_idx IS 'Keys that a change of a role or permission touches.';
COMMENT ON INDEX api_key_secrets_key_id_idx IS 'The secrets of a key, newest first.';
COMMENT ON INDEX api_key_secrets_current_key IS 'One secret at most has no end.';
COMMENT ON INDEX api_key_secrets_expires_at_idx IS 'Secrets whose overlap ends, for notices.';
COMMENT ON INDEX api_key_usage_day_idx IS 'Sweeping.';
COMMENT ON INDEX audit_events_time_idx IS 'Lists, newest first.';
COMMENT ON INDEX audit_events_actor_id_idx IS 'Events of an actor.';
COMMENT ON INDEX audit_events_target_id_idx IS 'Events about a target.';
COMMENT ON INDEX audit_personal_subject_id_idx IS 'A person''s own events, and his erasure.';
COMMENT ON INDEX mail_messages_created_at_idx IS 'Mails in the order in which they were written.';
COMMENT ON INDEX mail_messages_user_id_idx IS 'Mails of an account, for its erasure.';
COMMENT ON INDEX idempotency_keys_expires_at_idx IS 'Sweeping.';
COMMENT ON INDEX idempotency_keys_caller_id_idx IS 'Answers to a person, for his erasure.';
COMMENT ON INDEX idempotency_keys_subject_id_idx IS 'Answers about a person, for his erasure.';
COMMENT ON INDEX imports_actor_id_idx IS 'Imports of a person, for his erasure.';

-- +goose Down
-- +goose StatementBegin
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT r.oid::regclass AS name, r.relkind, a.attname FROM pg_description d JOIN pg_class r ON r.oid = d.objoid
        LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = d.objsubid AND d.objsubid > 0
        WHERE d.classoid = 'pg_class'::regclass AND r.relnamespace = 'public'::regnamespace AND NOT r.relispartition
    LOOP
        IF c.attname IS NOT NULL THEN
            EXECUTE format('COMMENT ON COLUMN %s.%I IS NULL', c.name, c.attname);
        ELSIF c.relkind IN ('r', 'p') THEN
            EXECUTE format('COMMENT ON TABLE %s IS NULL', c.name);
        ELSE
            EXECUTE format('COMMENT ON INDEX %s IS NULL', c.name);
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd
CREATE INDEX imports_created_at_idx ON imports (created_at);
CREATE INDEX sessions_created_at_idx ON sessions (created_at);
