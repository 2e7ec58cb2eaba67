package problem

import "github.com/user-management-service/ums/internal/platform/fault"

// Entry is what the page of a code says.
type Entry struct {
	Code    string     `json:"code"`
	Kind    fault.Kind `json:"-"`
	Status  int        `json:"status"`
	Title   string     `json:"title"`
	Meaning string     `json:"meaning"`
	Action  string     `json:"action"`
}

// Catalogue returns every code that clients may meet, by status: the contract.
func Catalogue() []Entry {
	entries := []Entry{
		{
			Code: "malformed_request", Kind: fault.Malformed, Title: "Malformed request",
			Meaning: "The body is not one JSON document in strict form: a syntax error, a duplicate key, data after the end, invalid UTF-8, a raw control byte, a byte order mark or more than 32 levels. Or a header is not in its form.",
			Action:  "Send one well-formed JSON document in UTF-8.",
		},
		{
			Code: "multiple_credentials", Kind: fault.Malformed, Title: "More than one credential",
			Meaning: "The request carries two credentials, so it is unclear who calls.",
			Action:  "Send either Authorization: Bearer or X-API-Key, once.",
		},
		{
			Code: "invalid_cursor", Kind: fault.Malformed, Title: "Invalid cursor",
			Meaning: "The cursor was not given out for this caller, route, filter and sort order.",
			Action:  "Start the list again without a cursor, and keep filter and order while you walk.",
		},
		{
			Code: "invalid_token", Kind: fault.Malformed, Title: "Invalid token",
			Meaning: "The token or code from a mail is unknown, expired, used, or made for something else.",
			Action:  "Ask for a new mail.",
		},

		{
			Code: "unauthenticated", Kind: fault.Unauthenticated, Title: "Sign-in required",
			Meaning: "The request carries no credential.",
			Action:  "Send an access token or an API key as Authorization: Bearer, or an API key as X-API-Key.",
		},
		{
			Code: "invalid_access_token", Kind: fault.Unauthenticated, Title: "Invalid access token",
			Meaning: "The access token is unreadable, expired, or its session or account has ended.",
			Action:  "Refresh it once; if that is refused too, sign in again.",
		},
		{
			Code: "invalid_api_key", Kind: fault.Unauthenticated, Title: "Invalid API key",
			Meaning: "The key is unknown, expired, revoked or quarantined, or its owner cannot act.",
			Action:  "Check the key with its owner, or make a new one.",
		},
		{
			Code: "invalid_refresh_token", Kind: fault.Unauthenticated, Title: "Invalid refresh token",
			Meaning: "The refresh token is unknown, expired or was used before; its session may have been ended for that.",
			Action:  "Sign in again.",
		},
		{
			Code: "invalid_credentials", Kind: fault.Unauthenticated, Title: "Invalid credentials",
			Meaning: "Address and password do not belong to an account that can sign in.",
			Action:  "Check both, or reset the password.",
		},
		{
			Code: "invalid_code", Kind: fault.Unauthenticated, Title: "Invalid code",
			Meaning: "The one-time code is wrong, too old or used.",
			Action:  "Wait for the next code and try again.",
		},
		{
			Code: "invalid_mfa_token", Kind: fault.Unauthenticated, Title: "Invalid second-step token",
			Meaning: "The token that joins the two steps of a sign-in is unknown, expired or used up.",
			Action:  "Start the sign-in again.",
		},

		{
			Code: "permission_denied", Kind: fault.Forbidden, Title: "Permission denied",
			Meaning: "The caller lacks a permission; the member required names it when there is one to name.",
			Action:  "Ask an administrator for a role that grants it, or use a key with that scope.",
		},
		{
			Code: "privilege_escalation", Kind: fault.Forbidden, Title: "Privilege escalation",
			Meaning: "The change would grant more than the caller holds, or for longer.",
			Action:  "Grant less, or have someone do it who holds as much.",
		},
		{
			Code: "session_required", Kind: fault.Forbidden, Title: "Session required",
			Meaning: "API keys cannot make this call.",
			Action:  "Sign in and use the access token.",
		},
		{
			Code: "reauthentication_required", Kind: fault.Forbidden, Title: "Fresh sign-in required",
			Meaning: "The call needs an authentication that is at most 10 minutes old, at the account's level.",
			Action:  "Call POST /api/v1/auth/reauthenticate, then repeat with the new access token.",
		},
		{
			Code: "mfa_required", Kind: fault.Forbidden, Title: "Second factor required",
			Meaning: "The password was right; the account also asks for a second factor.",
			Action:  "Finish the sign-in with mfa_token and one of the listed factors.",
		},
		{
			Code: "mfa_enrollment_required", Kind: fault.Forbidden, Title: "Second factor must be set up",
			Meaning: "One of the account's roles demands a second factor, and the account has none.",
			Action:  "Set one up; until then nothing else is allowed.",
		},
		{
			Code: "email_unverified", Kind: fault.Forbidden, Title: "Address not verified",
			Meaning: "The account waits for its address to be verified.",
			Action:  "Use the link or the code from the mail, or ask for another.",
		},
		{
			Code: "account_suspended", Kind: fault.Forbidden, Title: "Account suspended",
			Meaning: "An administrator has suspended the account.",
			Action:  "Ask the administrator.",
		},
		{
			Code: "registration_closed", Kind: fault.Forbidden, Title: "Registration closed",
			Meaning: "Accounts are made by invitation only.",
			Action:  "Ask for an invitation.",
		},
		{
			Code: "ip_denied", Kind: fault.Forbidden, Title: "Network not allowed",
			Meaning: "The key may not be used from this network.",
			Action:  "Call from a listed network, or change the key's allowed_ips.",
		},

		{
			Code: "not_found", Kind: fault.NotFound, Title: "Not found",
			Meaning: "There is no such resource, or the caller may not know of it.",
			Action:  "Check the path and the id.",
		},
		{
			Code: "method_not_allowed", Kind: fault.MethodNotAllowed, Title: "Method not allowed",
			Meaning: "The path exists; the method does not.",
			Action:  "Use a method that the Allow header lists.",
		},

		{
			Code: "email_taken", Kind: fault.Conflict, Title: "Address taken",
			Meaning: "Another account has this address.",
			Action:  "Use another address, or the account that has it.",
		},
		{
			Code: "already_exists", Kind: fault.Conflict, Title: "Already exists",
			Meaning: "Something with this name or identifier exists.",
			Action:  "Use that, or choose another name.",
		},
		{
			Code: "role_in_use", Kind: fault.Conflict, Title: "Role in use",
			Meaning: "Users hold the role, or other roles inherit it.",
			Action:  "Take it away first, or repeat with ?force=true.",
		},
		{
			Code: "permission_in_use", Kind: fault.Conflict, Title: "Permission in use",
			Meaning: "A role grants the permission, or a key has it as a scope.",
			Action:  "Remove it there first.",
		},
		{
			Code: "system_role", Kind: fault.Conflict, Title: "Built-in role",
			Meaning: "The role is built in and cannot be changed like this.",
			Action:  "Make a role of your own.",
		},
		{
			Code: "last_admin", Kind: fault.Conflict, Title: "Last administrator",
			Meaning: "The change would leave nobody who can administer the service.",
			Action:  "Make another administrator first.",
		},
		{
			Code: "last_credential", Kind: fault.Conflict, Title: "Last credential",
			Meaning: "The change would leave the account no way to sign in.",
			Action:  "Add another credential first.",
		},
		{
			Code: "rotation_in_progress", Kind: fault.Conflict, Title: "Rotation in progress",
			Meaning: "The key already has two live secrets.",
			Action:  "Wait until the overlap ends, or revoke the key.",
		},
		{
			Code: "idempotency_in_progress", Kind: fault.Conflict, Title: "Request in progress",
			Meaning: "A request with the same Idempotency-Key is being worked on.",
			Action:  "Wait as long as Retry-After says, then repeat it unchanged.",
		},

		{
			Code: "precondition_failed", Kind: fault.PreconditionFailed, Title: "Changed meanwhile",
			Meaning: "If-Match names a version that is no longer the current one.",
			Action:  "Read the resource again and repeat the change on what you find.",
		},
		{
			Code: "payload_too_large", Kind: fault.TooLarge, Title: "Body too large",
			Meaning: "The body is above the limit: 1 MiB unless the route says otherwise.",
			Action:  "Send less.",
		},
		{
			Code: "unsupported_media_type", Kind: fault.UnsupportedMediaType, Title: "Unsupported media type",
			Meaning: "The route does not take this Content-Type or Content-Encoding.",
			Action:  "Send application/json in UTF-8, without compression, unless the route names another type.",
		},
		{
			Code: "misdirected_request", Kind: fault.Misdirected, Title: "Host not allowed",
			Meaning: "The request names a host that this service does not answer for.",
			Action:  "Use the public URL; operators list further names in UMS_ALLOWED_HOSTS.",
		},

		{
			Code: "validation_failed", Kind: fault.Invalid, Title: "Invalid values",
			Meaning: "The request is well-formed, but some of its values are not acceptable; errors lists all of them, each with a pointer.",
			Action:  "Correct what errors lists.",
		},
		{
			Code: "role_cycle", Kind: fault.Invalid, Title: "Role cycle",
			Meaning: "The role would inherit from itself.",
			Action:  "Remove one of the inheritances on the way round.",
		},
		{
			Code: "idempotency_key_reused", Kind: fault.Invalid, Title: "Idempotency-Key reused",
			Meaning: "The Idempotency-Key was used with another body.",
			Action:  "Use a new key for a new request.",
		},
		{
			Code: "unsupported_filter", Kind: fault.Invalid, Title: "Unsupported combination of filters",
			Meaning: "Each filter is known, but no index serves them together.",
			Action:  "Filter by fewer of them.",
		},

		{
			Code: "rate_limited", Kind: fault.Limited, Title: "Too many requests",
			Meaning: "A limit is used up; the member policy names it.",
			Action:  "Wait as long as Retry-After says.",
		},

		{
			Code: "internal_error", Kind: fault.Internal, Title: "Internal error",
			Meaning: "Something went wrong on the service's side.",
			Action:  "Try again; if it stays, report the request_id.",
		},

		{
			Code: "unavailable", Kind: fault.Unavailable, Title: "Unavailable",
			Meaning: "The service, or something that it needs, cannot answer now. Nothing was changed.",
			Action:  "Wait as long as Retry-After says, then repeat.",
		},
		{
			Code: "overloaded", Kind: fault.Unavailable, Title: "Overloaded",
			Meaning: "The service has more to do than it can; it refused before it began.",
			Action:  "Wait as long as Retry-After says, then repeat.",
		},
		{
			Code: "outcome_unknown", Kind: fault.Unavailable, Title: "Outcome unknown",
			Meaning: "The connection to the database broke while the change was being committed: it may have happened or not.",
			Action:  "Read before you repeat, or repeat with the same Idempotency-Key.",
		},
	}
	for i := range entries {
		entries[i].Status = Status(entries[i].Kind)
	}
	return entries
}

func byCode() map[string]Entry {
	m := map[string]Entry{}
	for _, e := range Catalogue() {
		m[e.Code] = e
	}
	return m
}
