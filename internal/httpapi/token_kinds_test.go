package httpapi_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// door is a place where a token is presented.
type door struct {
	route   string   // below /api/v1; of header and query there is none to name
	opens   []string // kinds of token
	refused func(t *testing.T, a *apptest.Answer) bool
	knock   func(text string) *apptest.Answer
}

// problemOf is the refusal of most doors.
func problemOf(status int, code string) func(*testing.T, *apptest.Answer) bool {
	return func(t *testing.T, a *apptest.Answer) bool { t.Helper(); return a.Status == status && a.Code(t) == code }
}

// silent doors answer the same to everything: whether they have done anything shows afterwards, when every token must
// still open its own door.
func silent(status int) func(*testing.T, *apptest.Answer) bool {
	return func(_ *testing.T, a *apptest.Answer) bool { return a.Status == status }
}

// A new kind of token gets a line in kinds, and its route a line in doors: a test below finds routes that have none.
// Each is of an account of its own, for using one kind ends others of the same account.
func tokenKinds(t *testing.T, s *apptest.Service, root *apptest.Client) (kinds map[string]string, coder *apptest.Client) {
	t.Helper()
	w := &world{s: s, root: root}
	_, tokens, _ := newTokens(t, s, "tok10")
	key := s.Bearer(tokens.String(t, "access_token")).POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key")
	proof, registration := w.register(t, "tok10-new@token.test")
	mailed := func(name, ask string) string {
		email := "tok10-" + name + "@token.test"
		s.Person(t, root, email)
		s.POST(t, ask, doc{"email": email}).Want(t, 202)
		return s.Mail.WaitFor(t, email, 1).Token()
	}
	_, mover := s.Person(t, root, "tok10-mover@token.test")
	mover.POST(t, "/auth/email/change", doc{"new_email": "tok10-moved@token.test"}).Want(t, 202)
	_, stayer := s.Person(t, root, "tok10-stayer@token.test")
	stayer.POST(t, "/auth/email/change", doc{"new_email": "tok10-stayed@token.test"}).Want(t, 202)
	_, careful := s.Person(t, root, "tok10-careful@token.test")
	addPasskey(t, careful)
	ticket := signIn(t, s, "tok10-careful@token.test", apptest.Password).Want(t, 403, "mfa_required")
	_, coder = s.Person(t, root, coderEmail)
	app := s.Enrol(t, coder)
	return map[string]string{
		"access token":  tokens.String(t, "access_token"),
		"refresh token": tokens.String(t, "refresh_token"),
		"session id":    tokens.String(t, "session_id"),
		"verification":  proof,
		"code":          s.Mail.WaitFor(t, "tok10-new@token.test", 1).Code(),
		"registration":  registration,
		"invitation":    w.invite(t, "tok10-invited@token.test"),
		"reset":         mailed("forgetful", "/auth/password/forgot"),
		"magic link":    mailed("lazy", "/auth/magic-link"),
		"confirmation":  s.Mail.WaitFor(t, "tok10-moved@token.test", 1).Token(),
		"undo":          s.Mail.WaitFor(t, "tok10-stayer@token.test", 1).Token(),
		"API key":       key,
		"public id":     key[len("ums_live_") : len("ums_live_")+22],
		"mfa token":     ticket.String(t, "mfa_token"),
		"TOTP code":     app.Code(t),
		"recovery code": app.RecoveryCodes[0],
		"challenge":     offer(t, s.Client).String(t, "publicKey.challenge"),
		"cursor":        root.GET(t, "/users?limit=1").Want(t, 200).String(t, "next_cursor"),
	}, coder
}

// coderEmail is of somebody with an authenticator app.
const coderEmail = "tok10-coder@token.test"

func tokenDoors(t *testing.T, s *apptest.Service, root, coder *apptest.Client, kinds map[string]string) map[string]door {
	t.Helper()
	_, spoilt := (&world{s: s, root: root}).register(t, "tok10-spoilt@token.test") // whose code dies of the guesses
	post := func(path string, body doc, member string) func(string) *apptest.Answer {
		return func(text string) *apptest.Answer {
			t.Helper()
			with := doc{member: text}
			for name, value := range body {
				with[name] = value
			}
			return s.POST(t, path, with)
		}
	}
	_, starter := s.Person(t, root, "tok10-starter@token.test")
	pending := starter.POST(t, "/auth/mfa/totp", nil).Want(t, 201).String(t, "id")
	byCode := func(method string) func(string) *apptest.Answer { // of each ticket few codes are looked at
		return func(text string) *apptest.Answer {
			t.Helper()
			return s.POST(t, "/auth/mfa/verify", secondStep(s.Ticket(t, coderEmail, apptest.Password), method, text))
		}
	}
	code := problemOf(401, "invalid_code")
	mailed, ticket := problemOf(400, "invalid_token"), problemOf(401, "invalid_mfa_token")
	return map[string]door{
		"Authorization": {
			"",
			[]string{"access token", "API key"},
			problemOf(401, "invalid_access_token"),
			func(text string) *apptest.Answer { return s.Bearer(text).GET(t, "/users/me") },
		},
		"X-API-Key": {
			"",
			[]string{"API key"},
			problemOf(401, "invalid_api_key"),
			func(text string) *apptest.Answer { return s.With("X-API-Key", text).GET(t, "/users/me") },
		},
		"cursor": {
			"",
			[]string{"cursor"},
			problemOf(400, "invalid_cursor"),
			func(text string) *apptest.Answer { return root.GET(t, "/users?limit=1&cursor="+url.QueryEscape(text)) },
		},
		"cookie": {
			"/auth/refresh",
			[]string{"refresh token"},
			problemOf(401, "invalid_refresh_token"),
			func(text string) *apptest.Answer {
				return s.With("Cookie", "ums_refresh="+text).POST(t, "/auth/refresh", nil)
			},
		},
		"introspection": {
			"/auth/introspect",
			[]string{"access token", "refresh token"},
			func(t *testing.T, a *apptest.Answer) bool { t.Helper(); return string(a.Body) == `{"active":false}` },
			func(text string) *apptest.Answer {
				return form(t, root, "/auth/introspect", url.Values{"token": {text}})
			},
		},
		"revocation": {
			"/auth/revoke",
			[]string{"access token", "refresh token"},
			silent(200),
			func(text string) *apptest.Answer {
				return form(t, s.Client, "/auth/revoke", url.Values{"token": {text}})
			},
		},
		"refresh":    {"/auth/refresh", []string{"refresh token"}, problemOf(401, "invalid_refresh_token"), post("/auth/refresh", nil, "refresh_token")},
		"logout":     {"/auth/logout", []string{"refresh token"}, silent(204), post("/auth/logout", nil, "refresh_token")},
		"leaked key": {"/api-keys/leaked", []string{"API key"}, silent(202), post("/api-keys/leaked", nil, "key")},
		"key verification": {
			"/api-keys/verify",
			[]string{"API key"},
			func(t *testing.T, a *apptest.Answer) bool { t.Helper(); return a.Get(t, "code") == "not_found" },
			func(text string) *apptest.Answer { return root.POST(t, "/api-keys/verify", doc{"key": text}) },
		},
		"second factor, begun":   {"/auth/passkeys/login/options", []string{"mfa token"}, ticket, post("/auth/passkeys/login/options", nil, "mfa_token")},
		"second factor, by code": {"/auth/mfa/verify", []string{"mfa token"}, ticket, post("/auth/mfa/verify", doc{"method": "totp", "code": "000000"}, "mfa_token")},
		"TOTP code":              {"/auth/mfa/verify", []string{"TOTP code"}, code, byCode("totp")},
		"recovery code":          {"/auth/mfa/verify", []string{"recovery code"}, code, byCode("recovery_code")},
		"reauthentication": {"/auth/reauthenticate", []string{"TOTP code"}, code, func(text string) *apptest.Answer {
			return coder.POST(t, "/auth/reauthenticate", doc{"method": "totp", "code": text})
		}},
		"activation": {"/auth/mfa/totp/{id}/activate", nil, code, func(text string) *apptest.Answer {
			return starter.POST(t, "/auth/mfa/totp/"+pending+"/activate", doc{"code": text})
		}},
		"second factor, by passkey": {"/auth/passkeys/login", []string{"mfa token"}, ticket, post("/auth/passkeys/login", doc{"credential": doc{}}, "mfa_token")},
		"verification":              {"/auth/email/verify", []string{"verification"}, mailed, post("/auth/email/verify", doc{"password": apptest.Password}, "token")},
		"verification by registration": {
			"/auth/email/verify",
			[]string{"verification"},
			mailed,
			post("/auth/email/verify", doc{"registration_id": kinds["registration"]}, "token"),
		},
		"registration": {
			"/auth/email/verify",
			[]string{"registration"},
			mailed,
			post("/auth/email/verify", doc{"token": kinds["verification"]}, "registration_id"),
		},
		"code":         {"/auth/email/verify", nil, mailed, post("/auth/email/verify", doc{"registration_id": spoilt}, "code")},
		"invitation":   {"/auth/invitations/accept", []string{"invitation"}, mailed, post("/auth/invitations/accept", doc{"password": apptest.Password}, "token")},
		"reset":        {"/auth/password/reset", []string{"reset"}, mailed, post("/auth/password/reset", doc{"new_password": apptest.Password + " again"}, "token")},
		"magic link":   {"/auth/magic-link/verify", []string{"magic link"}, mailed, post("/auth/magic-link/verify", nil, "token")},
		"confirmation": {"/auth/email/change/confirm", []string{"confirmation"}, mailed, post("/auth/email/change/confirm", nil, "token")},
		"undo":         {"/auth/email/change/undo", []string{"undo"}, mailed, post("/auth/email/change/undo", nil, "token")},
	}
}

// TOK-10: tokens of every kind at the doors of all others. None opens, and none is used up by it: at the end each opens
// its own.
func TestTOK10_EveryTokenAtEveryOtherDoor(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off", "UMS_MAGIC_LINK=true"))
	root := s.Admin(t)
	kinds, coder := tokenKinds(t, s, root)
	doors := tokenDoors(t, s, root, coder, kinds)
	for kind, text := range kinds {
		require.NotEmpty(t, text, kind)
	}
	for name, d := range doors {
		for kind, text := range kinds {
			if slices.Contains(d.opens, kind) {
				continue
			}
			a := d.knock(text)
			require.True(t, d.refused(t, a), "%s at the door for %s: %d %s", kind, name, a.Status, a.Body)
		}
	}
	opens := []string{ // what ends something comes last
		"Authorization", "X-API-Key", "cursor", "introspection", "registration", "invitation", "reset", "magic link", "confirmation", "undo", "key verification", "second factor, begun", "recovery code", "TOTP code", "refresh",
	}
	for _, name := range opens {
		for _, kind := range doors[name].opens {
			a := doors[name].knock(kinds[kind])
			require.Less(t, a.Status, 300, "%s: nothing of that has used up the %s: %s", name, kind, a.Body)
			require.False(t, doors[name].refused(t, a), kind)
		}
	}
}

// Every route whose body holds a token has its door above.
func TestTOK10_NoDoorIsForgotten(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	var known []string
	for _, d := range tokenDoors(t, s, root, s.Client, nil) {
		known = append(known, d.route)
	}
	for _, r := range surface(t) {
		body := operation(t, r).RequestBody
		if body == nil {
			continue
		}
		for _, media := range body.Value.Content {
			for name := range media.Schema.Value.Properties {
				if slices.Contains([]string{"token", "refresh_token", "mfa_token", "registration_id", "code", "key"}, name) && r.Path != "/auth/email/verification" { // there it only chooses
					require.Contains(t, known, r.Path, "%s takes a %s: give its kind a line in tokenKinds and the route one in tokenDoors", r.Path, name)
				}
			}
		}
	}
}
