//go:build packaging

package deploy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// proxy is an nginx with the configuration of deploy/nginx, changed in addresses and paths alone.
type proxy struct {
	tls, plain string // addresses
	roots      *x509.CertPool
}

// startNginx starts nginx before a service and an application, each given by its address.
func startNginx(t *testing.T, service, application string) *proxy {
	t.Helper()
	folder := t.TempDir()
	p := &proxy{roots: x509.NewCertPool()}
	for _, name := range []string{"id.example.com", "app.example.com"} {
		p.roots.AppendCertsFromPEM(certificate(t, folder, name))
	}
	// nginx takes over the listeners that it is given, so that no port has to be guessed.
	var files []*os.File
	for _, addr := range []*string{&p.tls, &p.plain} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		file, err := l.(*net.TCPListener).File()
		require.NoError(t, err)
		files = append(files, file)
		*addr = l.Addr().String()
	}
	change := strings.NewReplacer(
		"    listen [::]:443 ssl http2;\n", "", "    listen [::]:80;\n", "",
		"listen 443 ssl", "listen "+p.tls+" ssl", "listen 80", "listen "+p.plain,
		"127.0.0.1:8080", service, "127.0.0.1:3000", application,
		"/etc/nginx/tls/", folder+"/", "/etc/nginx/ums", folder,
	)
	for _, name := range []string{"ums.conf", "protected.conf", "ums.js"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(change.Replace(read(t, "deploy/nginx/"+name))), 0o600))
	}
	main := `
daemon off;
pid PATH/nginx.pid;
error_log stderr notice;
load_module modules/ngx_http_js_module.so;
events {}
http {
    access_log off;
    client_body_temp_path PATH/body;
    proxy_temp_path PATH/proxy;
    fastcgi_temp_path PATH/fastcgi;
    uwsgi_temp_path PATH/uwsgi;
    scgi_temp_path PATH/scgi;
    include PATH/ums.conf;
    include PATH/protected.conf;
}
`
	if os.Geteuid() == 0 {
		main = "user root;" + main // the test's folder is its own
	}
	conf := filepath.Join(folder, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, []byte(strings.ReplaceAll(main, "PATH", folder)), 0o600))
	if out, err := exec.CommandContext(t.Context(), "nginx", "-t", "-q", "-e", "stderr", "-c", conf).CombinedOutput(); err != nil || len(out) > 0 {
		require.FailNow(t, "nginx -t", "%v\n%s", err, out)
	}

	cmd := exec.Command("nginx", "-e", "stderr", "-c", conf)
	cmd.ExtraFiles = files
	cmd.Env = []string{"NGINX=3;4;"}
	var log bytes.Buffer
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	return p // connections wait in the listeners' queues until nginx has come up
}

// certificate writes a certificate of its own authority for a name, and returns it.
func certificate(t *testing.T, folder, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+".crt"), public, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return public
}

// client calls nginx by any name, from an address of this machine.
func (p *proxy) client(t *testing.T, from string) *http.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasSuffix(addr, ":80") {
				return dialer.DialContext(ctx, network, p.plain)
			}
			return dialer.DialContext(ctx, network, p.tls)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// reply is an answer, read to its end.
type reply struct {
	*http.Response
	body []byte
}

func (r *reply) member(t *testing.T, name string) string {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(r.body, &v), "%s", r.body)
	s, _ := v[name].(string)
	return s
}

// send makes a request with pairs of header names and values.
func send(t *testing.T, c *http.Client, method, url string, body io.Reader, headers ...string) *reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return &reply{res, got}
}

const id = "https://id.example.com"

func (p *proxy) signIn(t *testing.T, c *http.Client, email, password string, headers ...string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"email": email, "password": password})
	require.NoError(t, err)
	a := send(t, c, "POST", id+"/api/v1/auth/login", bytes.NewReader(body), append(headers, "Content-Type", "application/json")...)
	require.Equal(t, 200, a.StatusCode, "%s", a.body)
	return "Bearer " + a.member(t, "access_token")
}

func address(s *apptest.Service) string { return strings.TrimPrefix(s.Base(), "http://") }

func TestNginxBeforeTheService(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_PUBLIC_URL="+id, "UMS_TRUSTED_PROXIES=127.0.0.1,::1"))
	p := startNginx(t, address(s), "127.0.0.1:1")
	c := p.client(t, "127.0.0.9")

	live := send(t, c, "GET", id+"/livez", nil)
	require.Equal(t, 200, live.StatusCode)
	require.Equal(t, 2, live.ProtoMajor)
	require.Contains(t, live.Header.Get("Strict-Transport-Security"), "max-age=")

	// Who calls, whatever he says himself.
	token := p.signIn(t, c, apptest.AdminEmail, apptest.AdminPassword,
		"X-Forwarded-For", "203.0.113.7", "X-Real-IP", "203.0.113.8", "Forwarded", "for=203.0.113.9")
	sessions := send(t, c, "GET", id+"/api/v1/auth/sessions", nil, "Authorization", token)
	require.Equal(t, 200, sessions.StatusCode)
	require.Contains(t, string(sessions.body), `"ip":"127.0.0.9"`)

	require.Equal(t, "from-the-client", send(t, c, "GET", id+"/livez", nil, "X-Request-Id", "from-the-client").Header.Get("X-Request-Id"))
	require.Regexp(t, "^[0-9a-f]{32}$", send(t, c, "GET", id+"/livez", nil, "X-Request-Id", "no good").Header.Get("X-Request-Id"), "nginx's own, which its log has too")

	// Sizes: the service's answer where it can give one, else one that reads alike.
	big := send(t, c, "PATCH", id+"/api/v1/users/me", strings.NewReader(strings.Repeat(" ", 2<<20)), "Authorization", token, "Content-Type", "application/json")
	require.Equal(t, 413, big.StatusCode)
	huge := send(t, c, "PATCH", id+"/api/v1/users/me", strings.NewReader(strings.Repeat(" ", 4<<20)), "Authorization", token, "Content-Type", "application/json")
	require.Equal(t, 413, huge.StatusCode)
	for _, name := range []string{"type", "code", "title"} {
		require.Equal(t, big.member(t, name), huge.member(t, name))
	}
	require.Equal(t, "application/problem+json", huge.Header.Get("Content-Type"))
	require.NotEmpty(t, huge.member(t, "request_id"))

	// Without TLS people are led on, programs are not.
	page := send(t, c, "GET", "http://id.example.com/docs", nil)
	require.Equal(t, 308, page.StatusCode)
	require.Equal(t, id+"/docs", page.Header.Get("Location"))
	require.Equal(t, 403, send(t, c, "GET", "http://id.example.com/api/v1/users/me", nil, "Authorization", token).StatusCode)

	s.Stop()
	away := send(t, c, "GET", id+"/api/v1/users/me", nil, "Authorization", token)
	require.Equal(t, 503, away.StatusCode)
	require.Equal(t, "unavailable", away.member(t, "code"))
	require.NotEmpty(t, away.Header.Get("Retry-After"))
	never := send(t, c, "PATCH", id+"/api/v1/users/me", strings.NewReader("{}"), "Content-Type", "application/json")
	require.Equal(t, "unavailable", never.member(t, "code"), "no replica was reached")
}

// What a replica may have done before it was lost is not called "unavailable": that promises that nothing was changed, and
// clients repeat it.
func TestNginxPromisesNothingOfWhatWasPassedOn(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(service.Close)
	p := startNginx(t, strings.TrimPrefix(service.URL, "http://"), "127.0.0.1:1")
	c := p.client(t, "127.0.0.1")
	for method, code := range map[string]string{"GET": "unavailable", "POST": "outcome_unknown", "PATCH": "outcome_unknown", "DELETE": "outcome_unknown"} {
		lost := send(t, c, method, id+"/api/v1/users/me", strings.NewReader("{}"))
		require.Equal(t, 503, lost.StatusCode)
		require.Equal(t, code, lost.member(t, "code"), method)
		require.Equal(t, "https://id.example.com/problems/"+code, lost.member(t, "type"))
		require.NotEmpty(t, lost.Header.Get("Retry-After"))
		require.Equal(t, "no-store", lost.Header.Get("Cache-Control"))
	}
}

// TestNginxPassesStreamsOnAsTheyCome has a service that reads an import's first line before its second exists, and a
// client that reads an answer's first line before its second exists: a proxy that collects either would stand still.
func TestNginxPassesStreamsOnAsTheyCome(t *testing.T) {
	t.Parallel()
	arrived, goOn := make(chan string), make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		line := make([]byte, 6)
		_, _ = io.ReadFull(r.Body, line)
		arrived <- string(line)
		n, _ := io.Copy(io.Discard, r.Body)
		if n < 4<<20 {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, "begun\n")
		_ = control.Flush()
		<-goOn
		_, _ = io.WriteString(w, "ended\n")
	}))
	t.Cleanup(service.Close)
	p := startNginx(t, strings.TrimPrefix(service.URL, "http://"), "127.0.0.1:1")
	for _, path := range []string{"/users/import", "/users/export", "/users/me/export", "/users/import/1/errors", "/audit-events/export"} {
		t.Run(path, func(t *testing.T) {
			body, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, "first\n")
				select {
				case line := <-arrived:
					if line == "first\n" {
						_, _ = w.Write(make([]byte, 4<<20)) // more than any other path takes
					}
				case <-time.After(patience):
				}
				_ = w.Close()
			}()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, id+"/api/v1"+path, body)
			require.NoError(t, err)
			res, err := p.client(t, "127.0.0.1").Do(req)
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			require.Equal(t, 200, res.StatusCode)
			line := make([]byte, 6)
			_, err = io.ReadFull(res.Body, line)
			require.NoError(t, err)
			require.Equal(t, "begun\n", string(line))
			goOn <- struct{}{}
			rest, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Equal(t, "ended\n", string(rest))
		})
	}
}

func TestNginxLetsTheServiceGuardAnApplication(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_PUBLIC_URL="+id, "UMS_TRUSTED_PROXIES=127.0.0.1"))
	reached := 0
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached++
		_, _ = io.WriteString(w, "user "+r.Header.Get("X-UMS-User"))
	}))
	t.Cleanup(application.Close)
	p := startNginx(t, address(s), strings.TrimPrefix(application.URL, "http://"))
	c := p.client(t, "127.0.0.9")

	admin := s.Admin(t)
	admin.POST(t, "/permissions", map[string]any{"name": "reports:read"}).Want(t, 201)
	admin.POST(t, "/roles", map[string]any{"name": "reader", "permissions": []string{"reports:read"}}).Want(t, 201)
	reader, readerClient := s.Person(t, admin, "reader@example.com", "reader")
	other, _ := s.Person(t, admin, "other@example.com")
	readerToken, otherToken := p.signIn(t, c, "reader@example.com", apptest.Password), p.signIn(t, c, "other@example.com", apptest.Password)
	key := func(allowed ...string) string {
		a := readerClient.POST(t, "/api-keys", map[string]any{
			"name": "reports", "scopes": []string{"me:read", "reports:read"}, "environment": "live", "allowed_ips": append([]string{}, allowed...),
		}).Want(t, 201)
		return a.String(t, "key")
	}
	unrelated := admin.POST(t, "/api-keys", map[string]any{"name": "unrelated", "scopes": []string{"users:read", "me:read"}, "environment": "live"}).Want(t, 201).String(t, "key")

	const reports, signedIn = "https://app.example.com/reports/1", "https://app.example.com/signed-in/1"
	for _, o := range []struct {
		name, url string
		status    int
		user      string // whom the application sees
		headers   []string
	}{
		{"nobody", reports, 401, "", nil},
		{"nobody", signedIn, 401, "", nil},
		{"a token that is none", reports, 401, "", []string{"Authorization", "Bearer x"}},
		{"a token that is none", signedIn, 401, "", []string{"Authorization", "Bearer x"}},
		{"without the permission", reports, 403, "", []string{"Authorization", otherToken}},
		{"without the permission", signedIn, 200, "", []string{"Authorization", otherToken}},
		{"with the permission", reports, 200, reader, []string{"Authorization", readerToken}},
		{"who says who he is", reports, 200, reader, []string{"Authorization", readerToken, "X-UMS-User", other}},
		{"who says who he is", signedIn, 200, "", []string{"Authorization", readerToken, "X-UMS-User", other}},
		{"a key", reports, 200, reader, []string{"X-API-Key", key()}},
		{"a key as a bearer", reports, 200, reader, []string{"Authorization", "Bearer " + key()}},
		{"a key", signedIn, 200, "", []string{"X-API-Key", key()}},
		{"a key without the scope, whose owner has every permission", reports, 403, "", []string{"X-API-Key", unrelated}},
		{"a key from its address", reports, 200, reader, []string{"X-API-Key", key("127.0.0.9/32")}},
		{"a key from elsewhere", reports, 403, "", []string{"X-API-Key", key("127.0.0.1/32"), "X-Forwarded-For", "127.0.0.1"}},
		{"a key from elsewhere", signedIn, 403, "", []string{"X-API-Key", key("127.0.0.1/32"), "X-Forwarded-For", "127.0.0.1"}},
	} {
		t.Run(o.name+" at "+o.url, func(t *testing.T) {
			before := reached
			a := send(t, c, "POST", o.url, strings.NewReader("a body that is the application's"), o.headers...)
			require.Equal(t, o.status, a.StatusCode, "%s", a.body)
			if o.status == 200 {
				require.Equal(t, "user "+o.user, string(a.body))
				return
			}
			require.Equal(t, before, reached, "the application saw the request")
			if o.status == 401 {
				require.Contains(t, a.Header.Get("WWW-Authenticate"), "Bearer")
			}
		})
	}

	admin.POST(t, "/users/"+reader+"/suspend", map[string]any{"reason": "left"}).Want(t, 200)
	for _, url := range []string{reports, signedIn} {
		require.Equal(t, 401, send(t, c, "GET", url, nil, "Authorization", readerToken).StatusCode, "at once, at %s", url)
	}
	s.Stop()
	for _, url := range []string{reports, signedIn} {
		a := send(t, c, "GET", url, nil, "Authorization", otherToken)
		require.Equal(t, 503, a.StatusCode, url)
		require.NotEmpty(t, a.Header.Get("Retry-After"), url)
	}
}
