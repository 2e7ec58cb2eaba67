// Package config composes what each package reads from the environment into the service's configuration.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/telemetry"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Config is the whole configuration.
type Config struct {
	Service   Service
	Bootstrap Bootstrap
	Database  postgres.Config
	Keys      keyring.Config
	Mail      mail.Config
	Edge      middleware.Config
	Passwords password.Config
	Tokens    token.Config
	Signing   signing.Config
	Auth      auth.Config
	Sessions  session.Config
	Passkeys  passkey.Config
	Throttle  throttle.Config
	Limits    ratelimit.Config
	Accounts  account.Config
	Profiles  profile.Config
	APIKeys   apikey.Config
	Telemetry telemetry.Config
}

// Service is what concerns the process as a whole.
type Service struct {
	Env         string `env:"UMS_ENV" envDefault:"development"` // development or production
	HTTPAddr    string `env:"UMS_HTTP_ADDR" envDefault:"127.0.0.1:8080"`
	AdminAddr   string `env:"UMS_ADMIN_ADDR" envDefault:"127.0.0.1:9090"`
	PublicURL   string `env:"UMS_PUBLIC_URL" envDefault:"http://localhost:8080"`
	LinkBaseURL string `env:"UMS_LINK_BASE_URL"` // empty: the service serves the pages of mailed links
	ProductName string `env:"UMS_PRODUCT_NAME" envDefault:"UMS"`
	DataDir     string `env:"UMS_DATA_DIR" envDefault:".data"`
	DevRemote   bool   `env:"UMS_DEV_REMOTE"` // development shortcuts on a listener that is not loopback
}

// Bootstrap is the first admin, made at the start when there is none.
type Bootstrap struct {
	AdminEmail    string      `env:"UMS_BOOTSTRAP_ADMIN_EMAIL"`
	AdminPassword secret.Text `env:"UMS_BOOTSTRAP_ADMIN_PASSWORD"`
}

// Development says whether shortcuts are allowed.
func (s Service) Development() bool { return s.Env == "development" }

// Load reads the environment, all faults in one error. NAME_FILE reads the value of a secret NAME from a file.
// It also returns the UMS_ variables that nothing reads: a slip of the pen, or another version's.
func Load(environ []string) (*Config, []string, error) {
	vars := env.ToMap(environ)
	maps.DeleteFunc(vars, func(_, v string) bool { return v == "" }) // empty is unset
	c := &Config{}
	var unreadable, wrong []error
	known := map[string]bool{}
	for _, section := range c.sections() {
		names := variables(reflect.TypeOf(section).Elem())
		for _, name := range slices.Sorted(maps.Keys(names)) {
			known[name] = true
			if names[name] {
				known[name+"_FILE"] = true
				unreadable = append(unreadable, readFile(vars, name))
			}
		}
		err := parse(section, vars)
		unreadable = append(unreadable, err)
		if v, ok := section.(interface{ Validate() error }); ok && err == nil {
			wrong = append(wrong, v.Validate())
		}
	}
	errs := slices.Concat(unreadable, wrong)
	if errors.Join(unreadable...) == nil {
		errs = append(errs, c.complete()) // of values that could not be read it would say nonsense
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	var unknown []string
	for name := range vars {
		if strings.HasPrefix(name, "UMS_") && !known[name] && !strings.HasPrefix(name, "UMS_TEST_") && name != "UMS_POSTGRES_BIN" {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return c, unknown, nil
}

// Names lists every variable, sorted.
func Names() []string {
	var names []string
	for _, section := range (&Config{}).sections() {
		names = slices.AppendSeq(names, maps.Keys(variables(reflect.TypeOf(section).Elem())))
	}
	slices.Sort(names)
	return names
}

func (c *Config) sections() []any {
	v := reflect.ValueOf(c).Elem()
	out := make([]any, v.NumField())
	for i := range out {
		out[i] = v.Field(i).Addr().Interface()
	}
	return out
}

var (
	textType        = reflect.TypeFor[secret.Text]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// variables lists those of a section, with whether each is a secret.
func variables(t reflect.Type) map[string]bool {
	out := map[string]bool{}
	for f := range t.Fields() {
		if name := f.Tag.Get("env"); name != "" && name != "-" {
			out[name] = f.Type == textType
		} else if f.Type.Kind() == reflect.Struct && !reflect.PointerTo(f.Type).Implements(unmarshalerType) {
			maps.Copy(out, variables(f.Type))
		}
	}
	return out
}

func readFile(vars map[string]string, name string) error {
	path, ok := vars[name+"_FILE"]
	if !ok {
		return nil
	}
	if _, both := vars[name]; both {
		return fmt.Errorf("%s and %s_FILE are both set; keep one", name, name)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s_FILE: %w", name, err)
	}
	vars[name] = strings.TrimRight(string(content), "\r\n")
	return nil
}

func parse(section any, vars map[string]string) error {
	err := env.ParseWithOptions(section, env.Options{Environment: vars})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return err
	}
	errs := make([]error, len(all.Errors))
	for i, e := range all.Errors {
		errs[i] = e
		var p env.ParseError
		if errors.As(e, &p) {
			errs[i] = fmt.Errorf("%s: %w", variableOf(reflect.TypeOf(section).Elem(), p.Name), p.Err)
		}
	}
	return errors.Join(errs...)
}

func variableOf(t reflect.Type, field string) string {
	for f := range t.Fields() {
		if f.Name == field && f.Tag.Get("env") != "" {
			return f.Tag.Get("env")
		}
		if f.Type.Kind() == reflect.Struct {
			if name := variableOf(f.Type, field); name != "" {
				return name
			}
		}
	}
	return ""
}

// complete checks what concerns several variables and fills in what follows from the machine.
func (c *Config) complete() error {
	var errs []error
	s := &c.Service
	s.PublicURL = strings.TrimSuffix(s.PublicURL, "/")
	if s.Env != "development" && s.Env != "production" {
		errs = append(errs, fmt.Errorf("UMS_ENV: %q is neither development nor production", s.Env))
	}
	errs = append(errs, checkURL("UMS_PUBLIC_URL", s.PublicURL, false))
	if _, err := c.RelyingParty(); err != nil {
		errs = append(errs, err)
	}
	if s.LinkBaseURL != "" {
		errs = append(errs, checkURL("UMS_LINK_BASE_URL", s.LinkBaseURL, true))
	}
	if c.Database.MaxConns == 0 {
		c.Database.MaxConns = int32(4 * runtime.NumCPU()) //nolint:gosec // a number of cores
	}
	if !c.Bootstrap.AdminPassword.Empty() && c.Bootstrap.AdminEmail == "" {
		errs = append(errs, errors.New("UMS_BOOTSTRAP_ADMIN_PASSWORD needs UMS_BOOTSTRAP_ADMIN_EMAIL"))
	}
	if s.Development() && !s.DevRemote && !loopback(s.HTTPAddr) {
		errs = append(errs, fmt.Errorf("UMS_HTTP_ADDR: %s is reachable from other machines, and UMS_ENV=development opens shortcuts; "+
			"set UMS_ENV=production, listen on 127.0.0.1, or set UMS_DEV_REMOTE=true on a network that you trust", s.HTTPAddr))
	}
	if !s.Development() {
		if c.Database.URL.Empty() {
			errs = append(errs, errors.New("UMS_DATABASE_URL is required in production: postgres://user:password@host:5432/database"))
		}
		if !c.Bootstrap.AdminPassword.Empty() {
			errs = append(errs, errors.New("UMS_BOOTSTRAP_ADMIN_PASSWORD works in development only; leave it empty and use the invitation"))
		}
	}
	return errors.Join(errs...)
}

// RelyingParty says to whom passkeys belong: what is configured, or what follows from the public URL and CORS.
func (c *Config) RelyingParty() (passkey.RelyingParty, error) {
	return c.Passkeys.For(passkey.Site{
		PublicURL: c.Service.PublicURL, CORSOrigins: c.Edge.CORSOrigins, ProductName: c.Service.ProductName, Development: c.Service.Development(),
	})
}

func checkURL(name, text string, path bool) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// Not shown: a user's password may stand in it.
		return fmt.Errorf("%s must be an http or https URL without user, query and fragment", name)
	}
	if !path && u.Path != "" {
		return fmt.Errorf("%s: %q must not have a path", name, text)
	}
	return nil
}

// loopback says whether only this machine reaches the address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
