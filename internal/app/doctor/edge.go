package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/httpapi"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
)

// certificateWarning is how long before its end a certificate should have been renewed.
const certificateWarning = 14 * 24 * time.Hour

// publicURL holds it against the hosts that are answered for, and asks it, when somebody answers there.
func (d *doctor) publicURL(ctx context.Context) {
	public, err := url.Parse(d.cfg.Service.PublicURL)
	if err != nil {
		d.say("public URL", Fail, "UMS_PUBLIC_URL is no URL", "write it like https://id.example.com")
		return
	}
	if !d.cfg.Edge.AllowedHosts.Admit(public.Host, public.Host) {
		d.say("public URL", Fail, "UMS_ALLOWED_HOSTS does not list "+public.Hostname()+": clients that use UMS_PUBLIC_URL get 421", "add it to the list, or leave UMS_ALLOWED_HOSTS empty")
	}
	if public.Scheme != "https" && !d.cfg.Service.Development() {
		if loopbackHost(public.Host) {
			d.say("public URL", Warn, public.String()+" is what mailed links and tokens name", "set UMS_PUBLIC_URL to what clients use")
		} else {
			d.say("public URL", Fail, public.String()+" is plain HTTP: passwords and tokens can be read on the way", "end TLS in front, and set UMS_PUBLIC_URL to https://"+public.Host)
		}
	}
	if link := d.cfg.Service.LinkBaseURL; strings.HasPrefix(link, "http://") && !d.cfg.Service.Development() {
		d.say("public URL", Fail, "UMS_LINK_BASE_URL is plain HTTP: mailed tokens can be read on the way", "set it to https")
	}
	d.ask(ctx, public)
}

// ask calls the public URL as a client does, with a probe that only this service answers.
func (d *doctor) ask(ctx context.Context, public *url.URL) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, public.String()+"/livez", http.NoBody)
	if err != nil {
		d.say("public URL", Fail, flat(err), "")
		return
	}
	if d.ring != nil {
		req.Header.Set(httpapi.ProbeHeader, httpapi.Probe(d.ring, d.options.Now()))
	}
	client := http.Client{
		Timeout: patience / 2, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		d.unreachable(public, err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Status string        `json:"status"`
		Seen   *httpapi.Seen `json:"seen"`
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Status != "ok" {
		d.say("public URL", Fail, fmt.Sprintf("%s answers %d, and not as this service does", req.URL, res.StatusCode), "let the proxy pass every path on, unchanged, with the Host of the client")
		return
	}
	says := public.String() + " answers"
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		left := res.TLS.PeerCertificates[0].NotAfter.Sub(d.options.Now())
		says += fmt.Sprintf(", with a certificate for another %d days", int(left.Hours()/24))
		if left < certificateWarning {
			d.say("public URL", Warn, says, "renew it")
			says = ""
		}
	}
	if says != "" {
		d.ok("public URL", says)
	}
	d.address(answer.Seen)
}

func (d *doctor) unreachable(public *url.URL, err error) {
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var wrong *url.Error
	if errors.As(err, &wrong) {
		err = wrong.Err
	}
	if errors.As(err, &certificate) || errors.As(err, &unknown) {
		d.say("public URL", Fail, public.String()+": "+flat(err), "give the proxy a certificate for "+public.Hostname()+" of an authority that clients trust")
		return
	}
	d.say("public URL", Warn, public.String()+" does not answer here: "+flat(err), "start the service; when it runs, let this machine resolve and reach that name as clients do")
	d.say("client address", Skip, "it takes an answer of "+public.String()+" to tell", "")
}

// address explains which address the service took this machine for.
func (d *doctor) address(seen *httpapi.Seen) {
	const check = "client address"
	if seen == nil {
		d.say(check, Skip, "the service does not know this doctor: it has another master key, another version, or another clock", "run ums doctor with the environment of the replica")
		return
	}
	trusted := d.cfg.Edge.TrustedProxies
	peer, err := netip.ParseAddr(seen.Peer)
	if err != nil {
		d.say(check, Fail, "the service sees no address of its peer", "let it listen on TCP")
		return
	}
	f := explain(trusted, peer, seen)
	d.say(check, f.Status, f.Says, f.Do)
}

// explain walks the way back as the service does: from the connection, over every proxy that is trusted, to the first that is not.
func explain(trusted middleware.Prefixes, peer netip.Addr, seen *httpapi.Seen) Finding {
	i := "I see your address as " + seen.Client
	way := strings.Join(slices.Concat(seen.Forwarded, []string{seen.Peer}), " → ")
	switch {
	case !trusted.Contain(peer) && len(seen.Forwarded) > 0:
		return Finding{
			"", Fail, i + ", which is a proxy: it adds X-Forwarded-For (" + way + ") and is not trusted, so every client is taken for it",
			"UMS_TRUSTED_PROXIES=" + seen.Peer + ", or its network",
		}
	case !trusted.Contain(peer) && len(trusted) > 0:
		return Finding{
			"", Warn, i + ": the other end of the connection, which is none of UMS_TRUSTED_PROXIES; nothing was forwarded",
			"right when this machine reaches the service past the proxy; else list the proxy's address",
		}
	case !trusted.Contain(peer):
		return Finding{"", OK, i + ": the other end of the connection. No proxy is trusted, and none was met", ""}
	case len(seen.Forwarded) == 0:
		return Finding{
			"", Fail, i + ": the trusted proxy " + seen.Peer + " sends no X-Forwarded-For, so every client is taken for it",
			"let it append the client's address: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for (nginx)",
		}
	case seen.Client == seen.Peer:
		return Finding{
			"", Warn, i + ", the proxy's own: every address of " + way + " is trusted, or the last one cannot be read",
			"right when this machine is in a trusted network; else narrow UMS_TRUSTED_PROXIES to the proxies",
		}
	}
	return Finding{"", OK, i + ": the right-most of " + way + " that is not trusted", ""}
}

// origins holds the pages that may call from browsers against where they are.
func (d *doctor) origins(context.Context) {
	allowed := d.cfg.Edge.CORSOrigins
	faults := 0
	for _, origin := range allowed {
		u, err := url.Parse(origin)
		if err != nil {
			continue // the configuration has refused it
		}
		if u.Scheme == "http" && !loopbackHost(u.Host) && !d.cfg.Service.Development() {
			d.say("CORS", Warn, origin+" is plain HTTP: who stands on the way reads what it reads", "serve it over https")
			faults++
		}
		if u.Scheme == "http" && loopbackHost(u.Host) && !d.cfg.Service.Development() {
			d.say("CORS", Warn, origin+" lets any program on a visitor's machine call from his browser", "remove it in production")
			faults++
		}
		if origin == d.cfg.Service.PublicURL {
			d.say("CORS", Warn, origin+" is the service itself, which needs no entry", "remove it from UMS_CORS_ORIGINS")
			faults++
		}
	}
	if faults > 0 {
		return
	}
	if len(allowed) == 0 {
		d.ok("CORS", "only pages of "+d.cfg.Service.PublicURL+" call from browsers")
		return
	}
	d.ok("CORS", "pages of "+strings.Join(allowed, ", ")+" call from browsers")
}

// passkeys says where they can be used.
func (d *doctor) passkeys(context.Context) {
	rp, err := d.cfg.RelyingParty()
	if err != nil {
		d.say("passkeys", Fail, flat(err), "correct it")
		return
	}
	if !rp.Offered() {
		d.say("passkeys", Warn, "they are not offered: "+d.cfg.Service.PublicURL+" is not https on a host name", "set UMS_PUBLIC_URL or UMS_PASSKEY_RP_ID, if people shall have passkeys")
		return
	}
	id, origins := rp.ID(), rp.Origins()
	var without []string
	for _, o := range d.cfg.Edge.CORSOrigins {
		if !slices.Contains(origins, o) {
			without = append(without, o)
		}
	}
	says := "they belong to " + id + " and are used on " + strings.Join(origins, ", ")
	if len(without) > 0 {
		d.say("passkeys", Warn, says+"; not on "+strings.Join(without, ", "), "list them in UMS_PASSKEY_ORIGINS, with an UMS_PASSKEY_RP_ID that they lie on or below; changing it loses the passkeys that there are")
		return
	}
	d.ok("passkeys", says)
}

// loopbackHost says whether host:port, with or without what follows, is this machine.
func loopbackHost(hostport string) bool {
	host, _, _ := strings.Cut(hostport, "/")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.IsLoopback()
}
