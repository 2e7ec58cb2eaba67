package transfer_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/transfer"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// reader reads lines. It has no database.
func reader() *transfer.Service {
	c := clock.NewFake(at2025)
	return transfer.NewService(transfer.Deps{Clock: c, Profiles: profile.NewService(nil, role.Authorizer{}, c, nil)})
}

const argon = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG3kZ0NWVHc0E"

// account draws one that this service could have.
func account(t *rapid.T) map[string]any {
	a := map[string]any{}
	n := rapid.IntRange(1, 1<<30).Draw(t, "number")
	at := func(label string) string {
		return at2025.Add(-time.Duration(rapid.Int64Range(0, 1e9).Draw(t, label)) * time.Second).Add(-time.Millisecond).Format("2006-01-02T15:04:05.999Z")
	}
	maybe := func(name string, value func() any) {
		if rapid.Bool().Draw(t, name) {
			a[name] = value()
		}
	}
	a["record"], a["id"], a["kind"] = "user", fmt.Sprintf("01890000-0000-7000-8000-%012x", n), "human"
	a["email"], a["created_at"] = fmt.Sprintf("P%d@example.org", n), at("created")
	a["status"] = rapid.SampledFrom([]string{"active", "suspended", "pending", "deleting"}).Draw(t, "status")
	a["email_verified"] = a["status"] != "pending"
	if a["status"] == "deleting" {
		a["deleted_at"] = at("deleted")
	}
	if a["status"] != "pending" {
		maybe("password_hash", func() any { return argon })
	}
	maybe("display_name", func() any { return rapid.StringMatching(`[A-Za-zöß] [a-z"\\<&]{1,40}`).Draw(t, "name") })
	maybe("locale", func() any { return "de-AT" })
	maybe("timezone", func() any { return "Europe/Vienna" })
	maybe("external_id", func() any { return fmt.Sprint(n) })
	maybe("last_login_at", func() any { return at("login") })
	maybe("metadata", func() any { return map[string]any{"a": rapid.String().Filter(printable).Draw(t, "text"), "n": n} })
	maybe("roles", func() any {
		return []any{map[string]any{"name": "editor", "expires_at": "2999-01-01T00:00:00Z", "created_at": at("held")}, map[string]any{"name": "x", "created_at": at("held")}}
	})
	maybe("profile", func() any {
		return map[string]any{"given_name": "Ada", "address": map[string]any{"locality": "Wien"}, "social_links": map[string]any{"x": "https://x.example"}, "visibility": "public"}
	})
	maybe("totp", func() any {
		return []any{map[string]any{"secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "last_step": n, "created_at": at("made"), "activated_at": at("on")}}
	})
	maybe("recovery_codes", func() any { return [][]byte{rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "code")} })
	maybe("passkeys", func() any {
		return []any{map[string]any{
			"name": "Key", "credential_id": rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "credential"), "public_key": []byte{1}, "sign_count": n,
			"aaguid": a["id"], "transports": []string{"usb"}, "backup_eligible": true, "backed_up": false, "created_at": at("key"),
		}}
	})
	return a
}

func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r&0xFFFE == 0xFFFE || r >= 0xFDD0 && r <= 0xFDEF {
			return false
		}
	}
	return true
}

// Whatever an account has, its line reads back to the same line.
func TestLinesAreLossless(t *testing.T) {
	t.Parallel()
	s := reader()
	rapid.Check(t, func(t *rapid.T) {
		a := account(t)
		text, err := json.Marshal(a)
		require.NoError(t, err)
		again, err := transfer.Reread(s, text)
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, json.Unmarshal(again, &got))
		for name, value := range a {
			require.Contains(t, got, name)
			if name != "profile" { // what it lacks is spelled out
				want, err := json.Marshal(value)
				require.NoError(t, err)
				is, err := json.Marshal(got[name])
				require.NoError(t, err)
				require.JSONEq(t, string(want), string(is), name)
			}
		}
		twice, err := transfer.Reread(s, again)
		require.NoError(t, err)
		require.Equal(t, string(again), string(twice))
	})
}

// Whatever stands in a line: no panic, a fault, or an account that reads back as itself.
func FuzzLine(f *testing.F) {
	s := reader()
	f.Add([]byte(`{"record":"user","id":"01890000-0000-7000-8000-000000000001","kind":"human","email":"a@b.test","email_verified":true,"status":"active","created_at":"2020-01-01T00:00:00Z","profile":{"phone":"+4312345678"},"totp":[{"secret":"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP","last_step":1,"created_at":"2020-01-01T00:00:00Z","activated_at":"2020-01-01T00:00:00Z"}],"recovery_codes":["AAAA"]}`))
	f.Add([]byte(`{"record":"user","kind":"service","display_name":"Robot","metadata":{"a":null},"roles":[{"name":"a"}],"passkeys":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		again, err := transfer.Reread(s, text)
		if err != nil {
			require.NotNil(t, fault.As(err), "%v", err)
			return
		}
		twice, err := transfer.Reread(s, again)
		require.NoError(t, err)
		require.Equal(t, string(again), string(twice))
	})
}

// Neither an administrator's session nor a key with every permission is the command line.
func TestOnlyTheCommandLineMovesSecrets(t *testing.T) {
	t.Parallel()
	s := reader()
	for _, kind := range []actor.Kind{actor.User, actor.APIKey, actor.Anonymous} {
		by := actor.Actor{Kind: kind, Permissions: actor.Permissions{actor.All}}
		_, err := s.Export(t.Context(), by, true, nil, nil)
		require.ErrorIs(t, err, actor.ErrPermissionDenied)
		_, err = s.Restore(t.Context(), by, nil, transfer.Options{}, transfer.Listener{})
		require.ErrorIs(t, err, actor.ErrPermissionDenied)
	}
}
