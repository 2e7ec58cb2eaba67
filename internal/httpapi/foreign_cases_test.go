package httpapi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// imported puts a hash of another program into the row of a new person.
func imported(t *testing.T, s *apptest.Service, email, hash string) (id string) {
	t.Helper()
	id, _ = s.Person(t, s.Admin(t), email)
	execute(t, s, "UPDATE users SET password_hash = $2 WHERE id = $1", id, hash)
	return id
}

func storedHash(t *testing.T, s *apptest.Service, id string) (hash string) {
	t.Helper()
	scan(t, s, &hash, "SELECT password_hash FROM users WHERE id = $1", id)
	return hash
}

func signIn(t *testing.T, s *apptest.Service, email, password string) *apptest.Answer {
	t.Helper()
	return s.POST(t, "/auth/login", doc{"email": email, "password": password})
}

// PWD-02: two passwords that agree in 72 bytes, at a bcrypt hash: neither passes, and neither learns why. The first good
// sign-in turns the hash into Argon2id.
func TestPWD02_ImportedBcrypt(t *testing.T) {
	t.Parallel()
	s := common(t)
	password := strings.Repeat("nine byte", 8) // 72
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	id := imported(t, s, "pwd02@foreign.test", string(hash))
	want := same(t, signIn(t, s, "pwd02@foreign.test", "not the password").Want(t, 401, "invalid_credentials"))
	for _, longer := range []string{password + "x", password + "and more"} {
		require.Equal(t, want, same(t, signIn(t, s, "pwd02@foreign.test", longer)))
	}
	require.Equal(t, string(hash), storedHash(t, s, id), "a refusal changes nothing")
	signIn(t, s, "pwd02@foreign.test", password).Want(t, 200)
	require.True(t, strings.HasPrefix(storedHash(t, s, id), "$argon2id$"))
	signIn(t, s, "pwd02@foreign.test", password).Want(t, 200)
	signIn(t, s, "pwd02@foreign.test", password+"x").Want(t, 401, "invalid_credentials")
}

func TestForeignHashesBecomeArgon2idAtTheFirstSignIn(t *testing.T) {
	t.Parallel()
	s := common(t)
	for name, c := range map[string][2]string{ // testdata of internal/platform/password has their sources
		"django":   {"lètmein", "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY="},
		"passlib":  {"password", "$pbkdf2-sha512$1212$RHY0Fr3IDMSVO/RSZyb5ow$eNLfBK.eVozomMr.1gYa17k9B7KIK25NOEshvhrSX.esqY3s.FvWZViXz4KoLlQI.BzY/YTNJOiKc5gBYFYGww"},
		"keycloak": {"RdaRfqP7Y89vy2", "$pbkdf2-sha256$27500$Td6XuopYK6JNfUnIlqYMOQ==$ZXVC08Hf4jBOoYzVoNWYjQijsMC2oc/OUa9LciiIJ/1XHPF/qPiY1DqwLLDN2hYFmf/1kApkveD8/Pr7GVqjgw=="},
		"argon2i":  {"password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"},
		"scrypt":   {"lètmein", "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw=="},
		"firebase": {"user1password", "$firebase-scrypt$ln=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="},
	} {
		email := name + "@foreign.test"
		id := imported(t, s, email, c[1])
		signIn(t, s, email, c[0]+"x").Want(t, 401, "invalid_credentials")
		require.Equal(t, c[1], storedHash(t, s, id), name)
		signIn(t, s, email, c[0]).Want(t, 200)
		require.True(t, strings.HasPrefix(storedHash(t, s, id), "$argon2id$"), name)
		signIn(t, s, email, c[0]).Want(t, 200)
	}
}

// A hash that cannot be read, or would cost too much, is like none at all: nobody learns that the account exists.
func TestForeignHashesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := common(t)
	want := same(t, signIn(t, s, "nobody@foreign.test", "password").Want(t, 401, "invalid_credentials"))
	for name, hash := range map[string]string{
		"md5": "5f4dcc3b5aa765d61d8327deb882cf99", "costly": "$2b$31$" + strings.Repeat("a", 53), "memory": "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JV+9ZxztmHFTdb7J0WQsnj2V8bZaqyPptE",
	} {
		id := imported(t, s, "unreadable-"+name+"@foreign.test", hash)
		require.Equal(t, want, same(t, signIn(t, s, "unreadable-"+name+"@foreign.test", "password")), name)
		require.Equal(t, hash, storedHash(t, s, id))
	}
}
