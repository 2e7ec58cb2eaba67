package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
)

func get(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodGet, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK, Class: reading}
}

func post(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodPost, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK, Class: writing}
}

func put(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodPut, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK, Class: writing}
}

func patchTo(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodPatch, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK, Class: writing}
}

func del(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodDelete, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusNoContent, Class: writing}
}

// as names what a refusal is in the audit log: noun.verb.
func (r Route) as(action string) Route { r.Action = action; return r }

// status is the status of success.
func (r Route) status(code int) Route { r.Status = code; return r }

// also is another status of success, with the same body; of a route whose status is 204, the one with a body.
func (r Route) also(code int) Route { r.Also = code; return r }

// idempotent routes honour Idempotency-Key.
func (r Route) idempotent() Route { r.Idempotent = true; return r }

// limited names the class of a route whose method does not tell it.
func (r Route) limited(c Class) Route { r.Class = c; return r }

// directly routes are so hot that huma's part of them shows: see Route.direct.
func (r Route) directly(h func(http.ResponseWriter, *http.Request, *call) bool) Route {
	r.direct = h
	return r
}

// cacheable answers hold nothing personal.
func (r Route) cacheable(control string) Route { r.Cacheable = control; return r }

// streams routes answer with as much as there is, in one of these media types.
func (r Route) streams(content map[string]*huma.Schema) Route {
	r.Stream, r.content = true, map[string]*huma.MediaType{}
	for media, schema := range content {
		r.content[media] = &huma.MediaType{Schema: schema}
	}
	return r
}

// filters takes query parameters that begin so, besides those of its input; detail says what they mean.
func (r Route) filters(prefix, detail string) Route { r.prefix, r.detail = prefix, detail; return r }

// register is the whole surface below /api/v1: method, path, operation, who may call it at all, limit class, handler. The
// class is that of the method (a GET reads, all others write) unless the line names another.
func (s *Server) register() {
	// Auth
	handle(s, get("/auth/config", "getAuthConfig", "What a sign-in page must know", Public()).cacheable("public, max-age=300"), s.authConfig)
	handle(s, post("/auth/register", "register", "Register an address", Public()).limited(credentials).as("auth.register").status(http.StatusAccepted).also(http.StatusCreated).idempotent(), s.registerAccount)
	handle(s, post("/auth/email/verify", "verifyEmail", "Prove an address", Public()).limited(credentials).as("auth.verify_email").status(http.StatusNoContent), s.verifyEmail)
	handle(s, post("/auth/email/verification", "resendVerification", "Send the verification mail again", Public()).limited(credentials).as("auth.resend_verification").status(http.StatusAccepted), s.resendVerification)
	handle(s, post("/auth/email/change", "changeEmail", "Ask for another address", Session().Fresh()).limited(credentials).as("email_change.request").status(http.StatusAccepted), s.changeEmail)
	handle(s, post("/auth/email/change/confirm", "confirmEmailChange", "Confirm another address", Public()).limited(credentials).as("email_change.confirm").status(http.StatusNoContent), s.confirmEmailChange)
	handle(s, post("/auth/email/change/undo", "undoEmailChange", "Take a former address back", Public()).limited(credentials).as("email_change.undo").status(http.StatusNoContent), s.undoEmailChange)
	handle(s, post("/auth/login", "login", "Sign in", Public()).limited(credentials).as("auth.login"), s.login)
	handle(s, post("/auth/mfa/verify", "verifyMfa", "Finish a sign-in by a second factor", Public()).limited(credentials).as("auth.mfa_verify"), s.verifyMFA)
	handle(s, get("/auth/mfa/factors", "listFactors", "List one's own second factors", Session().Enrolment()).as("factor.list"), s.listFactors)
	handle(s, del("/auth/mfa/factors/{id}", "removeFactor", "Remove one of one's own second factors", Session().Fresh()).limited(credentials).as("factor.delete"), s.removeFactor)
	handle(s, post("/auth/mfa/totp", "startTotp", "Enrol an authenticator app", Session().Fresh().Enrolment()).limited(credentials).as("factor.create").status(http.StatusCreated), s.startTOTP)
	handle(s, post("/auth/mfa/totp/{id}/activate", "activateTotp", "Show the first code of an authenticator app", Session().Fresh().Enrolment()).limited(credentials).as("factor.activate"), s.activateTOTP)
	handle(s, post("/auth/mfa/recovery-codes", "newRecoveryCodes", "Make new recovery codes", Session().Fresh()).limited(credentials).as("factor.recovery_codes"), s.newRecoveryCodes)
	handle(s, post("/auth/refresh", "refresh", "Exchange a refresh token", Public()).as("session.refresh"), s.refresh)
	handle(s, post("/auth/logout", "logout", "Sign out", Optional().Enrolment()).as("session.end").status(http.StatusNoContent), s.logout)
	handle(s, get("/auth/sessions", "listSessions", "List one's own sessions", Session()).as("session.list"), s.listSessions)
	handle(s, del("/auth/sessions/{id}", "endSession", "End one of one's own sessions", Session()).as("session.end"), s.endSession)
	handle(s, del("/auth/sessions", "endOtherSessions", "End all other sessions", Session()).as("session.end"), s.endOtherSessions)
	handle(s, post("/auth/reauthenticate", "reauthenticate", "Prove who one is, once more", Session().Enrolment()).limited(credentials).as("auth.reauthenticate"), s.reauthenticate)
	handle(s, post("/auth/password/forgot", "forgotPassword", "Ask for a mail that resets the password", Public()).limited(credentials).as("auth.password_forgot").status(http.StatusAccepted), s.forgotPassword)
	handle(s, post("/auth/password/reset", "resetPassword", "Set a new password by a mailed link", Public()).limited(credentials).as("auth.password_reset").status(http.StatusNoContent), s.resetPassword)
	handle(s, post("/auth/magic-link", "sendMagicLink", "Ask for a mail that signs in", Public()).limited(credentials).as("auth.magic_link").status(http.StatusAccepted), s.sendMagicLink)
	handle(s, post("/auth/magic-link/verify", "verifyMagicLink", "Sign in by a mailed link", Public()).limited(credentials).as("auth.login"), s.verifyMagicLink)
	handle(s, put("/auth/password", "changePassword", "Change one's own password", Session()).limited(credentials).as("auth.password_change").status(http.StatusNoContent), s.changePassword)
	handle(s, post("/auth/invitations/accept", "acceptInvitation", "Accept an invitation", Public()).limited(credentials).as("invitation.accept").status(http.StatusNoContent), s.acceptInvitation)
	handle(s, post("/auth/introspect", "introspectToken", "Ask what a token is good for (RFC 7662)", Permission("tokens:introspect")).limited(reading).as("token.introspect").form("token", "token_type_hint"), s.introspect)
	handle(s, post("/auth/revoke", "revokeToken", "Revoke a token (RFC 7009)", Public()).as("session.end").form("token", "token_type_hint"), s.revokeToken)

	handle(s, post("/auth/passkeys/registration/options", "beginPasskeyRegistration", "Ask for what a new passkey is made with", Session().Fresh().Enrolment()).limited(credentials).as("passkey.create"), s.passkeyRegistrationOptions)
	handle(s, post("/auth/passkeys/registration", "registerPasskey", "Add a passkey", Session().Fresh().Enrolment()).limited(credentials).as("passkey.create").status(http.StatusCreated), s.registerPasskey)
	handle(s, post("/auth/passkeys/login/options", "beginPasskeyLogin", "Ask for what a passkey signs to sign in", Public()).limited(credentials).as("auth.login"), s.passkeyLoginOptions)
	handle(s, post("/auth/passkeys/login", "loginWithPasskey", "Sign in with a passkey", Public()).limited(credentials).as("auth.login"), s.passkeyLogin)
	handle(s, post("/auth/passkeys/reauthentication/options", "beginPasskeyReauthentication", "Ask for what a passkey signs to prove its person again", Session().Enrolment()).limited(credentials).as("auth.reauthenticate"), s.passkeyReauthenticationOptions)
	handle(s, get("/auth/passkeys", "listPasskeys", "List one's own passkeys", Session().Enrolment()).as("passkey.list"), s.listPasskeys)
	handle(s, patchTo("/auth/passkeys/{id}", "renamePasskey", "Rename a passkey", Session().Fresh()).as("passkey.update"), s.renamePasskey)
	handle(s, del("/auth/passkeys/{id}", "removePasskey", "Remove a passkey", Session().Fresh()).as("passkey.delete"), s.removePasskey)

	// Users
	handle(s, get("/users/me", "getMe", "Read one's own account", Self("me:read", user.ReadPermission)).as("user.read"), s.getMe)
	handle(s, patchTo("/users/me", "updateMe", "Change one's own account", Self("me:write")).as("user.update"), s.updateMe)
	handle(s, del("/users/me", "deleteMe", "Delete one's own account", Session().Fresh()).as("user.delete"), s.deleteMe)
	handle(s, get("/users/me/export", "exportMe", "Export everything that is kept of oneself", Session()).limited(masses).as("user.export").streams(s.personalData()), s.exportMe)
	handle(s, get("/users/me/audit-events", "listMyAuditEvents", "List the audit events of one's own", Session()).as("audit_event.list"), s.listMyEvents)
	handle(s, get("/users", "listUsers", "List users", Permission(user.ReadPermission)).as("user.list"), s.listUsers)
	handle(s, post("/users", "createUser", "Create a user", Permission(user.WritePermission)).as("user.create").status(http.StatusCreated).idempotent(), s.createUser)
	handle(s, get("/users/export", "exportUsers", "Export users", Permission(user.ExportPermission)).limited(masses).as("user.bulk_export").streams(userExport()), s.exportUsers)
	handle(s, post("/users/import", "importUsers", "Import users", Permission(account.ImportPermission)).limited(masses).as("user.import").status(http.StatusAccepted).idempotent().lines(), s.importUsers)
	handle(s, get("/users/import/{id}", "getImport", "Read how far an import is", Permission(account.ImportPermission)).as("user.import"), s.getImport)
	handle(s, get("/users/import/{id}/errors", "exportImportErrors", "Export the lines of an import that were not taken", Permission(account.ImportPermission)).limited(masses).as("user.import").streams(importErrors()), s.exportImportErrors)
	handle(s, get("/users/{id}", "getUser", "Read a user", Permission(user.ReadPermission)).as("user.read"), s.getUser)
	handle(s, patchTo("/users/{id}", "updateUser", "Change a user", Permission(user.WritePermission)).as("user.update"), s.updateUser)
	handle(s, del("/users/{id}", "deleteUser", "Delete a user", Permission(user.DeletePermission)).as("user.delete"), s.deleteUser)
	handle(s, post("/users/{id}/suspend", "suspendUser", "Suspend a user", Permission(user.WritePermission)).as("user.suspend"), s.suspendUser)
	handle(s, get("/users/{id}/sessions", "listUserSessions", "List the sessions of a user", Permission(user.WritePermission).SessionOnly()).as("user.list_sessions"), s.listUserSessions)
	handle(s, del("/users/{id}/sessions", "endUserSessions", "End all sessions of a user", Permission(user.WritePermission).SessionOnly()).as("user.end_sessions"), s.endUserSessions)
	handle(s, post("/users/{id}/password-reset", "sendPasswordReset", "Mail a user a link that resets the password", Permission(user.WritePermission)).as("user.password_reset").status(http.StatusAccepted), s.sendPasswordReset)
	handle(s, post("/users/{id}/reactivate", "reactivateUser", "Reactivate a user", Permission(user.WritePermission)).as("user.reactivate"), s.reactivateUser)
	handle(s, post("/users/{id}/invite", "inviteUser", "Invite a pending user", Permission(user.WritePermission)).as("invitation.create").status(http.StatusAccepted), s.inviteUser)
	handle(s, del("/users/{id}/mfa", "resetUserMfa", "Take all second factors from a user", Permission(user.WritePermission).SessionOnly()).as("user.mfa_reset"), s.resetMFA)

	// Profiles
	handle(s, get("/profiles/me", "getMyProfile", "Read one's own profile", Self("me:read", profile.ReadPermission)).as("profile.read"), s.getMyProfile)
	handle(s, put("/profiles/me", "replaceMyProfile", "Replace one's own profile", Self("me:write", profile.WritePermission)).as("profile.update"), s.replaceMyProfile)
	handle(s, patchTo("/profiles/me", "updateMyProfile", "Change one's own profile", Self("me:write", profile.WritePermission)).as("profile.update"), s.updateMyProfile)
	handle(s, get("/profiles", "listProfiles", "List profiles", OwnOr("me:read", profile.ReadPermission)).as("profile.list").
		filters(attributePrefix, "`attributes.NAME=VALUE` filters by an attribute, which needs `profiles:read`: at most two of them."), s.listProfiles)
	handle(s, get("/profiles/{user_id}", "getProfile", "Read a profile", OwnOr("me:read", profile.ReadPermission)).as("profile.read"), s.getProfile)
	handle(s, put("/profiles/{user_id}", "replaceProfile", "Replace a profile", OwnOr("me:write", profile.WritePermission)).as("profile.update"), s.replaceProfile)
	handle(s, patchTo("/profiles/{user_id}", "updateProfile", "Change a profile", OwnOr("me:write", profile.WritePermission)).as("profile.update"), s.updateProfile)

	handle(s, put("/profiles/me/avatar", "setMyAvatar", "Set one's own avatar", Self("me:write", profile.WritePermission)).as("profile.avatar_set").picture(), s.setMyAvatar)
	handle(s, del("/profiles/me/avatar", "removeMyAvatar", "Remove one's own avatar", Self("me:write", profile.WritePermission)).as("profile.avatar_remove"), s.removeMyAvatar)
	handle(s, put("/profiles/{user_id}/avatar", "setAvatar", "Set an avatar", OwnOr("me:write", profile.WritePermission)).as("profile.avatar_set").picture(), s.setProfileAvatar)
	handle(s, del("/profiles/{user_id}/avatar", "removeAvatar", "Remove an avatar", OwnOr("me:write", profile.WritePermission)).as("profile.avatar_remove"), s.removeProfileAvatar)

	// Roles and permissions
	handle(s, get("/roles", "listRoles", "List roles", Permission(role.ReadPermission)).as("role.list"), s.listRoles)
	handle(s, post("/roles", "createRole", "Create a role", Permission(role.WritePermission).SessionOnly()).as("role.create").status(http.StatusCreated).idempotent(), s.createRole)
	handle(s, get("/roles/{id}", "getRole", "Read a role", Permission(role.ReadPermission)).as("role.read"), s.getRole)
	handle(s, patchTo("/roles/{id}", "updateRole", "Change a role", Permission(role.WritePermission).SessionOnly()).as("role.update"), s.updateRole)
	handle(s, del("/roles/{id}", "deleteRole", "Delete a role", Permission(role.WritePermission).SessionOnly()).as("role.delete").also(http.StatusOK), s.deleteRole)
	handle(s, get("/roles/{id}/users", "listRoleUsers", "List who holds a role", Permission(role.ReadPermission)).as("role.read"), s.listRoleUsers)
	handle(s, get("/permissions", "listPermissions", "List registered permissions", Permission(role.ReadPermission)).as("permission.list"), s.listPermissions)
	handle(s, post("/permissions", "createPermission", "Register a permission", Permission(role.WritePermission).SessionOnly()).as("permission.create").status(http.StatusCreated).idempotent(), s.createPermission)
	handle(s, del("/permissions/{name}", "deletePermission", "Delete a permission", Permission(role.WritePermission).SessionOnly()).as("permission.delete"), s.deletePermission)
	handle(s, get("/users/me/permissions", "listMyPermissions", "List one's own effective permissions", Self("me:read", "users:read")).as("user.read"), s.listMyPermissions)
	handle(s, get("/users/{id}/permissions", "listUserPermissions", "List a user's effective permissions", Permission(role.ReadPermission)).as("user.read"), s.listUserPermissions)
	handle(s, get("/users/{id}/roles", "listUserRoles", "List the roles of a user", Permission(role.ReadPermission)).as("user.read"), s.listUserRoles)
	handle(s, put("/users/{id}/roles/{role_id}", "assignRole", "Give a role to a user", Permission(role.AssignPermission).SessionOnly()).as("role.assign").status(http.StatusNoContent), s.assignRole)
	handle(s, del("/users/{id}/roles/{role_id}", "unassignRole", "Take a role from a user", Permission(role.AssignPermission).SessionOnly()).as("role.unassign"), s.unassignRole)
	handle(s, post("/authz/check", "checkPermissions", "Ask what an account may do, and why", OwnOr("me:read", role.ReadPermission)).limited(reading).as("permission.check"), s.checkPermissions)

	// API keys
	handle(s, post("/api-keys", "createApiKey", "Create an API key", Session().Fresh()).as("api_key.create").status(http.StatusCreated).idempotent(), s.createKey)
	handle(s, get("/api-keys", "listApiKeys", "List API keys", Session()).as("api_key.list"), s.listKeys)
	handle(s, get("/api-keys/current", "getCurrentApiKey", "Read the key that calls", Caller()).as("api_key.read"), s.currentKey)
	handle(s, post("/api-keys/leaked", "reportLeakedApiKey", "Report a key that leaked", Public()).as("api_key.quarantine").status(http.StatusAccepted).limited(leaked), s.reportLeakedKey)
	handle(s, post("/api-keys/verify", "verifyApiKey", "Verify a key that was presented to another program", Permission(apikey.VerifyPermission)).limited(reading).as("api_key.verify").directly(s.verifyKeyDirectly), s.verifyKey)
	handle(s, get("/api-keys/{id}", "getApiKey", "Read an API key", Session()).as("api_key.read"), s.getKey)
	handle(s, patchTo("/api-keys/{id}", "updateApiKey", "Change an API key", Session()).as("api_key.update"), s.updateKey)
	handle(s, del("/api-keys/{id}", "revokeApiKey", "Revoke an API key", Session()).as("api_key.revoke"), s.revokeKey)
	handle(s, post("/api-keys/{id}/rotate", "rotateApiKey", "Replace the secret of an API key", Session().Fresh()).as("api_key.rotate").status(http.StatusCreated).idempotent(), s.rotateKey)
	handle(s, get("/api-keys/{id}/usage", "getApiKeyUsage", "Read what an API key did", Session()).as("api_key.read"), s.keyUsage)

	// Audit
	handle(s, get("/audit-events", "listAuditEvents", "List audit events", Permission(audit.ReadPermission)).as("audit_event.list"), s.listEvents)
	handle(s, get("/audit-events/export", "exportAuditEvents", "Export audit events", Permission(audit.ReadPermission)).limited(masses).as("audit_event.export").streams(eventExport()), s.exportEvents)
	handle(s, get("/audit-events/{id}", "getAuditEvent", "Read an audit event", Permission(audit.ReadPermission)).as("audit_event.read"), s.getEvent)
}
