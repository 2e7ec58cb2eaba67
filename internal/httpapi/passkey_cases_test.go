package httpapi_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
)

// MFA-07: what touches passkeys needs an authentication of the last ten minutes at the account's level.
func TestMFA07_PasskeysNeedARecentAuthentication(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	_, ada := s.Person(t, s.Admin(t), "ada@mfa07.test")
	key, made := addPasskey(t, ada)
	options := ada.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)
	path := "/auth/passkeys/" + made.String(t, "id")
	s.Clock.Advance(11 * time.Minute)
	stale := s.Bearer(signInWith(t, s, key).Want(t, 200).String(t, "access_token")) // its time is the database's, which the clock leaves behind
	stale.GET(t, "/auth/passkeys").Want(t, 200)
	for _, a := range []*apptest.Answer{
		stale.POST(t, "/auth/passkeys/registration/options", nil),
		stale.POST(t, "/auth/passkeys/registration", doc{"credential": apptest.NewAuthenticator(t).Create(t, options)}),
		stale.PATCH(t, path, doc{"name": "Mine"}), stale.DELETE(t, path),
	} {
		a.Want(t, 403, "reauthentication_required")
	}
	require.Equal(t, "Passkey", stale.GET(t, "/auth/passkeys").Want(t, 200).String(t, "data.0.name"))
}

// A session from before the first passkey, had it lived on, would be below the account's level.
func TestMFA07_PasskeysNeedTheLevelOfTheAccount(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	_, ada := s.Person(t, s.Admin(t), "ada@level.test")
	_, made := addPasskey(t, ada)
	session := ada.GET(t, "/auth/sessions").Want(t, 200).String(t, "data.0.id")
	execute(t, s, "UPDATE sessions SET acr = 'aal1', amr = '{pwd}' WHERE id = $1", session)
	s.Clock.Advance(2 * time.Second) // what the replica remembers of the session is a second old at most
	ada.DELETE(t, "/auth/passkeys/"+made.String(t, "id")).Want(t, 403, "reauthentication_required")
	ada.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 403, "reauthentication_required")
}

// MFA-10: a registration counts only as it was asked for.
func TestMFA10_RegistrationsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	_, ada := s.Person(t, root, "ada@mfa10.test")
	begin := func(c *apptest.Client) *apptest.Answer {
		return c.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)
	}
	refused := func(t *testing.T, c *apptest.Client, credential any) {
		t.Helper()
		a := c.POST(t, "/auth/passkeys/registration", doc{"credential": credential}).Want(t, 422, "validation_failed")
		require.Equal(t, "/credential", a.String(t, "errors.0.pointer"))
		require.Equal(t, "not_accepted", a.String(t, "errors.0.code"), "whatever is wrong")
	}
	for name, lie := range map[string]func(*apptest.Authenticator){
		"wrong origin":               func(a *apptest.Authenticator) { a.Origin = "https://evil.test" },
		"origin without port":        func(a *apptest.Authenticator) { a.Origin = "https://localhost" },
		"wrong rpId":                 func(a *apptest.Authenticator) { a.RPID = "evil.test" },
		"in a frame":                 func(a *apptest.Authenticator) { a.CrossOrigin = true },
		"ceremony type":              func(a *apptest.Authenticator) { a.Type = "webauthn.get" },
		"user not verified":          func(a *apptest.Authenticator) { a.Flags &^= apptest.UserVerified },
		"user not present":           func(a *apptest.Authenticator) { a.Flags &^= apptest.UserPresent },
		"backed up but not eligible": func(a *apptest.Authenticator) { a.Flags |= apptest.BackedUp },
	} {
		t.Run(name, func(t *testing.T) {
			key := apptest.NewAuthenticator(t)
			lie(key)
			refused(t, ada, key.Create(t, begin(ada)))
		})
	}
	t.Run("challenge of another user", func(t *testing.T) {
		_, bob := s.Person(t, root, "bob@mfa10.test")
		refused(t, ada, apptest.NewAuthenticator(t).Create(t, begin(bob)))
	})
	t.Run("challenge of another session", func(t *testing.T) {
		other := s.SignIn(t, "ada@mfa10.test", apptest.Password)
		refused(t, ada, apptest.NewAuthenticator(t).Create(t, begin(other)))
	})
	t.Run("challenge of a login", func(t *testing.T) {
		mixed := begin(ada)
		login := offer(t, ada)
		mixed.Body = []byte(strings.ReplaceAll(string(mixed.Body), mixed.String(t, "publicKey.challenge"), login.String(t, "publicKey.challenge")))
		refused(t, ada, apptest.NewAuthenticator(t).Create(t, mixed))
	})
	t.Run("expired", func(t *testing.T) {
		options := begin(ada)
		expireChallenges(t, s, "ada@mfa10.test")
		refused(t, ada, apptest.NewAuthenticator(t).Create(t, options))
	})
	t.Run("unreadable", func(t *testing.T) {
		credential := apptest.NewAuthenticator(t).Create(t, begin(ada))
		for _, change := range []doc{{"id": "AAAA"}, {"type": "password"}, {"rawId": 1}, {"response": doc{}}, {"response": nil}} {
			broken := doc{}
			for name, value := range credential {
				broken[name] = value
			}
			for name, value := range change {
				broken[name] = value
			}
			refused(t, ada, broken)
		}
		refused(t, ada, doc{"id": strings.Repeat("A", 70_000)})
	})
	require.Empty(t, ada.GET(t, "/auth/passkeys").Want(t, 200).Get(t, "data"))

	t.Run("replayed", func(t *testing.T) {
		key := apptest.NewAuthenticator(t)
		credential := key.Create(t, begin(ada))
		ada.POST(t, "/auth/passkeys/registration", doc{"credential": credential}).Want(t, 201)
		refused(t, ada, credential)
		ada.POST(t, "/auth/passkeys/registration", doc{"credential": key.Create(t, begin(ada))}).Want(t, 409, "already_exists")
	})
}

func expireChallenges(t *testing.T, s *apptest.Service, email string) {
	t.Helper()
	execute(t, s, `UPDATE webauthn_challenges c SET expires_at = now() - interval '1 second' FROM users u WHERE u.id = c.user_id AND u.email = $1`, email)
}

// MFA-10: a sign-in counts only as it was asked for. All refusals are one answer.
func TestMFA10_SignInsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	adaID, ada := s.Person(t, root, "ada@mfa10.test")
	key, made := addPasskey(t, ada)
	var first map[string]any
	refused := func(t *testing.T, credential any) {
		t.Helper()
		a := s.POST(t, "/auth/passkeys/login", doc{"credential": credential}).Want(t, 401, "invalid_credentials")
		if first == nil {
			first = same(t, a)
		}
		require.Equal(t, first, same(t, a), "one answer for all")
	}
	honest := *key
	for name, lie := range map[string]func(*apptest.Authenticator){
		"wrong origin":         func(a *apptest.Authenticator) { a.Origin = "https://evil.test" },
		"wrong rpId":           func(a *apptest.Authenticator) { a.RPID = "evil.test" },
		"in a frame":           func(a *apptest.Authenticator) { a.CrossOrigin = true },
		"ceremony type":        func(a *apptest.Authenticator) { a.Type = "webauthn.create" },
		"user not verified":    func(a *apptest.Authenticator) { a.Flags &^= apptest.UserVerified },
		"user not present":     func(a *apptest.Authenticator) { a.Flags &^= apptest.UserPresent },
		"eligible all at once": func(a *apptest.Authenticator) { a.Flags |= apptest.BackupEligible },
		"unknown credential":   func(a *apptest.Authenticator) { a.ID = []byte("no such credential") },
		"no user handle":       func(a *apptest.Authenticator) { a.Handle = nil },
		"another's handle":     func(a *apptest.Authenticator) { a.Handle = make([]byte, 16) },
	} {
		t.Run(name, func(t *testing.T) {
			liar := honest
			lie(&liar)
			refused(t, liar.Get(t, offer(t, s.Client)))
		})
	}
	t.Run("another key", func(t *testing.T) {
		thief := apptest.NewAuthenticator(t)
		thief.ID, thief.Handle, thief.Count = key.ID, key.Handle, 100
		refused(t, thief.Get(t, offer(t, s.Client)))
	})
	t.Run("challenge of a registration", func(t *testing.T) {
		mixed := offer(t, s.Client)
		other := ada.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)
		mixed.Body = []byte(strings.ReplaceAll(string(mixed.Body), mixed.String(t, "publicKey.challenge"), other.String(t, "publicKey.challenge")))
		refused(t, key.Get(t, mixed))
	})
	t.Run("challenge of nobody", func(t *testing.T) {
		mixed := offer(t, s.Client)
		mixed.Body = []byte(strings.ReplaceAll(string(mixed.Body), mixed.String(t, "publicKey.challenge"), strings.Repeat("A", 43)))
		refused(t, key.Get(t, mixed))
	})
	t.Run("expired", func(t *testing.T) {
		options := offer(t, s.Client)
		execute(t, s, "UPDATE webauthn_challenges SET expires_at = now() - interval '1 second'")
		refused(t, key.Get(t, options))
	})
	t.Run("replayed", func(t *testing.T) {
		credential := key.Get(t, offer(t, s.Client))
		s.POST(t, "/auth/passkeys/login", doc{"credential": credential}).Want(t, 200)
		refused(t, credential)
	})
	t.Run("a challenge is good for one try", func(t *testing.T) {
		options := offer(t, s.Client)
		liar := *key
		liar.RPID = "evil.test"
		refused(t, liar.Get(t, options))
		refused(t, key.Get(t, options))
	})
	t.Run("unreadable", func(t *testing.T) { refused(t, doc{"id": "x"}) })

	// Each failure is in the log, under the account that it was about; nothing of what was sent is.
	failed := root.GET(t, "/audit-events?action=auth.login&outcome=failure&target_id="+adaID).Want(t, 200)
	require.GreaterOrEqual(t, len(failed.Get(t, "data").([]any)), 10)
	require.Equal(t, "anonymous", failed.String(t, "data.0.actor.type"))
	require.Equal(t, "invalid_credentials", failed.String(t, "data.0.reason"))

	t.Run("disabled user", func(t *testing.T) {
		root.POST(t, "/users/"+adaID+"/suspend", doc{"reason": "x"}).Want(t, 200)
		refused(t, key.Get(t, offer(t, s.Client)))
		root.POST(t, "/users/"+adaID+"/reactivate", nil).Want(t, 200)
		ada = s.Bearer(signInWith(t, s, key).Want(t, 200).String(t, "access_token"))
	})
	for _, status := range []string{"pending", "deleting"} {
		t.Run(status+" user", func(t *testing.T) {
			execute(t, s, "UPDATE users SET status = $1 WHERE id = $2", status, adaID)
			refused(t, key.Get(t, offer(t, s.Client)))
			execute(t, s, "UPDATE users SET status = 'active' WHERE id = $1", adaID)
		})
	}
	t.Run("removed", func(t *testing.T) {
		ada = s.Bearer(signInWith(t, s, key).Want(t, 200).String(t, "access_token"))
		ada.DELETE(t, "/auth/passkeys/"+made.String(t, "id")).Want(t, 204)
		refused(t, key.Get(t, offer(t, s.Client)))
	})
}

// MFA-10: a counter that does not grow is a copy, or a replay.
func TestMFA10_CounterThatDoesNotGrow(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	_, ada := s.Person(t, root, "ada@clone.test")
	key, made := addPasskey(t, ada)
	signInWith(t, s, key).Want(t, 200)
	for _, count := range []uint32{0, 1} { // 0 is sent as it is, 1 as 2: what was seen already
		clone := *key
		clone.Count = count
		signInWith(t, s, &clone).Want(t, 401, "invalid_credentials")
	}
	seen := root.GET(t, "/audit-events?action=passkey.clone").Want(t, 200)
	require.Len(t, seen.Get(t, "data"), 2)
	require.Equal(t, made.String(t, "id"), seen.String(t, "data.0.target.id"))
	require.Equal(t, "failure", seen.String(t, "data.0.outcome"))
	s.Mail.WaitFor(t, "ada@clone.test", 3)
	told := 0
	for _, m := range s.Mail.To("ada@clone.test") {
		if strings.Contains(m.Subject, "refused a passkey") {
			told++
		}
	}
	require.Equal(t, 2, told)
	signInWith(t, s, key).Want(t, 200) // the one that counts on is let in
}

// MFA-10: one challenge signs one in, whichever replica it comes to.
func TestMFA10_OneChallengeInParallel(t *testing.T) {
	t.Parallel()
	both := replicas(t)
	s := both[0]
	_, ada := s.Person(t, s.Admin(t), "ada@parallel.test")
	key, _ := addPasskey(t, ada, func(a *apptest.Authenticator) { a.Count = 0 })
	credential := key.Get(t, offer(t, s.Client))
	var in sync.WaitGroup
	answers := make([]int, 20)
	for i := range answers {
		in.Go(func() {
			if a, _, err := both[i%2].Try("POST", "/auth/passkeys/login", doc{"credential": credential}); err == nil {
				answers[i] = a.Status
			}
		})
	}
	in.Wait()
	won := map[int]int{}
	for _, status := range answers {
		won[status]++
	}
	require.Equal(t, map[int]int{200: 1, 401: 19}, won)
}

// MFA-10: others' passkeys are not there, and the last way in is not removed by a slip.
func TestMFA10_OthersPasskeysAndTheLastOne(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	id, ada := s.Person(t, root, "ada@last.test")
	_, bob := s.Person(t, root, "bob@last.test")
	_, one := addPasskey(t, ada)
	_, two := addPasskey(t, ada)
	path := "/auth/passkeys/" + one.String(t, "id")
	bob.PATCH(t, path, doc{"name": "Mine"}).Want(t, 404, "not_found")
	bob.DELETE(t, path).Want(t, 404, "not_found")
	root.DELETE(t, path).Want(t, 404, "not_found")
	require.Empty(t, bob.GET(t, "/auth/passkeys").Want(t, 200).Get(t, "data"))

	execute(t, s, "UPDATE users SET password_hash = NULL WHERE id = $1", id)
	ada.DELETE(t, path).Want(t, 204)
	last := "/auth/passkeys/" + two.String(t, "id")
	ada.DELETE(t, last).Want(t, 409, "last_credential")
	require.Len(t, ada.GET(t, "/auth/passkeys").Want(t, 200).Get(t, "data"), 1)
	execute(t, s, "UPDATE users SET password_hash = 'x' WHERE id = $1", id)
	ada.DELETE(t, last).Want(t, 204)
	require.Equal(t, false, ada.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"), "with the last one the second factor is gone")
}

// A passkey after a right password: for the account of the mfa_token, and with its challenge alone.
func TestPasskeyIsASecondFactor(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	id, ada := s.Person(t, root, "ada@second.test")
	_, bob := s.Person(t, root, "bob@second.test")
	key, _ := addPasskey(t, ada)
	others, _ := addPasskey(t, bob)
	ticket := func(email string) string {
		a := s.POST(t, "/auth/login", doc{"email": email, "password": apptest.Password, "device_name": "Desk"}).Want(t, 403, "mfa_required")
		return a.String(t, "mfa_token")
	}
	begin := func(mfaToken string) *apptest.Answer {
		return s.POST(t, "/auth/passkeys/login/options", doc{"mfa_token": mfaToken}).Want(t, 200)
	}
	finish := func(mfaToken string, credential any) *apptest.Answer {
		return s.POST(t, "/auth/passkeys/login", doc{"mfa_token": mfaToken, "credential": credential})
	}
	mine, his := ticket("ada@second.test"), ticket("bob@second.test")
	options := begin(mine)
	require.Len(t, options.Get(t, "publicKey.allowCredentials"), 1)

	finish(mine, others.Get(t, begin(mine))).Want(t, 401, "invalid_credentials")
	finish(mine, key.Get(t, begin(his))).Want(t, 401, "invalid_credentials")
	finish(mine, key.Get(t, begin(ticket("ada@second.test")))).Want(t, 401, "invalid_credentials")
	finish(mine, key.Get(t, offer(t, s.Client))).Want(t, 401, "invalid_credentials")
	s.POST(t, "/auth/passkeys/login", doc{"credential": key.Get(t, begin(mine))}).Want(t, 401, "invalid_credentials")

	ada.PATCH(t, "/users/me", doc{"locale": "de", "display_name": "Ada"}).Want(t, 200)
	tokens := s.With("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0").POST(t, "/auth/passkeys/login",
		doc{"mfa_token": mine, "credential": key.Get(t, begin(mine))}).Want(t, 200)
	_, err := s.Mail.Wait(t.Context(), func(m mailtest.Message) bool { // an unfamiliar program: told in the owner's language
		return m.To == "ada@second.test" && strings.Contains(m.Text, "Guten Tag Ada") && strings.Contains(m.Text, "Firefox")
	})
	require.NoError(t, err)
	said := claims(t, tokens)
	require.Equal(t, id, said["sub"])
	require.Equal(t, "aal2", said["acr"])
	require.Equal(t, []any{"pwd", "hwk", "user", "mfa"}, said["amr"])
	in := s.Bearer(tokens.String(t, "access_token"))
	require.Equal(t, "Desk", in.GET(t, "/auth/sessions").Want(t, 200).String(t, "data.0.device_name"))
	finish(mine, key.Get(t, offer(t, s.Client))).Want(t, 401, "invalid_mfa_token")
	s.POST(t, "/auth/passkeys/login/options", doc{"mfa_token": mine}).Want(t, 401, "invalid_mfa_token")

	guessed := ticket("ada@second.test") // and of tries there are five
	for range 5 {
		finish(guessed, doc{}).Want(t, 401, "invalid_credentials")
	}
	s.POST(t, "/auth/passkeys/login/options", doc{"mfa_token": guessed}).Want(t, 401, "invalid_mfa_token")
}
