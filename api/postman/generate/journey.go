package main

import (
	"fmt"
	"strings"
)

const journeyName = "From sign-up to an audited API-key call"

// step is one request of the journey: an operation of the contract, with what is special about it here.
type step struct {
	operation string
	name      string
	says      string // why the step is there
	status    int
	auth      *auth             // nil: the operation's
	body      map[string]any    // nil: the operation's example
	query     map[string]string // parameters that are sent
	before    string            // script that runs first
	after     string            // script that runs on the answer, after its status was tested; answer is its body
}

// journey is the folder that does the service's main job from one end to the other. It can be run again and again: each
// run signs up another person and makes a role of its own.
func (c *contract) journey() (*item, error) {
	byID := map[string]*operation{}
	for _, op := range c.operations() {
		byID[op.ID] = op
	}
	folder := &item{
		Name: journeyName,
		Description: "Run the whole folder, or send its requests one after the other. `admin_password` must be set in the environment. " +
			"The mailbox at `/dev/mail` is there in development; elsewhere put the code of the mail into `code` and go on with the request after it.",
	}
	for _, s := range steps {
		if s.operation == mailbox {
			folder.Item = append(folder.Item, readMail())
			continue
		}
		op := byID[s.operation]
		if op == nil {
			return nil, fmt.Errorf("the journey needs the operation %s, which the contract does not have", s.operation)
		}
		folder.Item = append(folder.Item, c.take(s, op))
	}
	return folder, nil
}

func (c *contract) take(s step, op *operation) *item {
	out := c.call(op)
	out.Name, out.Response, out.Event = s.name, nil, nil
	r := out.Request
	r.Description = s.says + "\n\n" + r.Description
	if s.auth != nil {
		r.Auth = s.auth
	}
	if s.body != nil {
		r.Body = raw(s.body)
	}
	sent := "?"
	for i := range r.URL.Query {
		q := &r.URL.Query[i]
		if v, ok := s.query[q.Key]; ok {
			q.Value, q.Disabled = v, false
			r.URL.Raw += sent + q.Key + "=" + v
			sent = "&"
		}
	}
	if s.before != "" {
		out.Event = append(out.Event, before(lines(s.before)...))
	}
	out.Event = append(out.Event, after(lines(tested(s.status, s.after))...))
	return out
}

func tested(status int, then string) string {
	script := fmt.Sprintf("pm.test(\"status %d\", () => pm.response.to.have.status(%[1]d));\n", status)
	if then = strings.TrimSpace(then); then != "" {
		script += "const answer = pm.response.json();\n" + then
	}
	return script
}

func lines(script string) []string { return strings.Split(strings.TrimSpace(script), "\n") }

// mailbox stands for the one request that is no operation of the contract.
const mailbox = "/dev/mail"

func readMail() *item {
	return &item{
		Name: "Read the mailed code",
		Request: &request{
			Auth: &auth{Type: "noauth"}, Method: "GET", Header: []variable{{Key: "Accept", Value: mediaJSON}},
			URL:         address{Raw: "{{base_url}}/dev/mail", Host: []string{"{{base_url}}"}, Path: []string{"dev", "mail"}},
			Description: "The development mailbox. Mails leave within a second or so; the request is repeated until this one is there.",
		},
		Event: []event{after(lines(`
const mails = pm.response.code === 200 ? pm.response.json().data : [];
const mail = mails.find((m) => m.to.toLowerCase().includes(pm.environment.get("email").toLowerCase()));
const tries = Number(pm.variables.get("mail_tries") || 0) + 1;
if (mail === undefined && pm.response.code === 200 && tries <= 50) {
    pm.variables.set("mail_tries", tries);
    pm.execution.setNextRequest(pm.info.requestName);
    setTimeout(() => {}, 200); // holds the next request back
} else {
    pm.test("the mail is there", () => pm.expect(mail, "a mail to " + pm.environment.get("email")).to.be.an("object"));
    pm.environment.set("code", mail.text.match(/^ +(\d{8})$/m)[1]);
}`)...)},
	}
}

var steps = []step{
	{
		operation: "register", name: "Register", status: 202,
		says: "Somebody signs up. The answer is the same for an address that is already known, whose owner gets another mail.",
		before: `
const run = Date.now().toString(36);
pm.environment.set("email", "grace-" + run + "@example.com");
pm.environment.set("role_name", "support-" + run);`,
		body: map[string]any{"email": "{{email}}", "password": "{{password}}", "display_name": "Grace Hopper"},
		after: `
pm.environment.set("registration_id", answer.registration_id);`,
	},
	{operation: mailbox},
	{
		operation: "verifyEmail", name: "Prove the address", status: 204,
		says: "The code counts together with the registration_id of whoever registered: a mailbox alone proves nothing.",
	},
	{
		operation: "login", name: "Sign in", status: 200,
		says: "From here on requests of the collection call with the access token.",
		after: `
pm.environment.set("access_token", answer.access_token);
pm.environment.set("refresh_token", answer.refresh_token);
pm.environment.set("session_id", answer.session_id);`,
	},
	{
		operation: "refresh", name: "Refresh", status: 200,
		says: "The access token lives for five minutes. The refresh token works once and brings its successor.",
		after: `
pm.test("the refresh token is another one", () => pm.expect(answer.refresh_token).not.to.equal(pm.environment.get("refresh_token")));
pm.environment.set("access_token", answer.access_token);
pm.environment.set("refresh_token", answer.refresh_token);`,
	},
	{
		operation: "getMe", name: "Who am I?", status: 200,
		says: "The account of the caller.",
		after: `
pm.test("it is the one who signed up", () => pm.expect(answer.email).to.equal(pm.environment.get("email")));
pm.environment.set("user_id", answer.id);`,
	},
	{
		operation: "updateMyProfile", name: "Change my profile", status: 200,
		says: "A merge patch: what is absent stays, null clears.",
		body: map[string]any{"given_name": "Grace", "family_name": "Hopper", "visibility": "public"},
		after: `
pm.test("the name is in it", () => pm.expect(answer.given_name).to.equal("Grace"));`,
	},
	{
		operation: "login", name: "Sign in as the administrator", status: 200,
		says: "`make run` printed the password once.",
		body: map[string]any{"email": "{{admin_email}}", "password": "{{admin_password}}"},
		after: `
pm.environment.set("admin_token", answer.access_token);`,
	},
	{
		operation: "createRole", name: "Make a role", status: 201, auth: bearer("admin_token"),
		says: "A name for permissions.",
		body: map[string]any{"name": "{{role_name}}", "description": "Answers tickets.", "permissions": []any{"users:read", "users:write"}},
		after: `
pm.environment.set("role_id", answer.id);`,
	},
	{
		operation: "assignRole", name: "Give her the role", status: 204, auth: bearer("admin_token"),
		says: "At most what the giver holds himself.",
	},
	{
		operation: "createApiKey", name: "Make an API key", status: 201,
		says: "Within her own permissions, by a session that authenticated within the last ten minutes. The key is shown here only.",
		body: map[string]any{"name": "nightly", "scopes": []any{"users:read"}, "environment": "live"},
		after: `
pm.environment.set("api_key_id", answer.id);
pm.environment.set("api_key", answer.key);`,
	},
	{
		operation: "listUsers", name: "Call with the key", status: 200, auth: byKey(), query: map[string]string{"limit": "5"},
		says: "What a program does.",
		after: `
pm.test("there are users", () => pm.expect(answer.data).not.to.be.empty);`,
	},
	{
		operation: "listAuditEvents", name: "Call with the key what it may not", status: 403, auth: byKey(),
		says: "Refused, with what would be needed.",
		after: `
pm.test("it says what is needed", () => pm.expect(answer.required).to.equal("audit:read"));`,
	},
	{
		operation: "listAuditEvents", name: "Read who did what", status: 200, auth: bearer("admin_token"), query: map[string]string{"limit": "50"},
		says: "Every step is in the log, the refused one of her key as well.",
		after: `
const acts = answer.data.filter((e) => e.actor.label === pm.environment.get("email")).map((e) => e.action + " " + e.outcome);
for (const act of ["auth.register success", "auth.verify_email success", "auth.login success", "session.refresh success",
    "profile.update success", "api_key.create success", "audit_event.list denied"]) {
    pm.test(act, () => pm.expect(acts).to.include(act));
}`,
	},
	{
		operation: "revokeApiKey", name: "Revoke the key", status: 204,
		says: "It works no more from now on, on every replica within a second.",
	},
	{
		operation: "logout", name: "Sign out", status: 204,
		says: "Ends the session and both of its tokens.",
	},
}
