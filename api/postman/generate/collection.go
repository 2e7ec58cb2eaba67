package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	mediaJSON  = "application/json"
	mediaForm  = "application/x-www-form-urlencoded"
	mediaLines = "application/x-ndjson"
)

// What follows is the part of Postman's collection format 2.1 that is written here.
type (
	collection struct {
		Info     info       `json:"info"`
		Auth     *auth      `json:"auth"`
		Variable []variable `json:"variable"`
		Item     []*item    `json:"item"`
	}
	info struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Version     string `json:"version"`
		Schema      string `json:"schema"`
	}
	// item is a folder when it has items, else a request.
	item struct {
		Name        string   `json:"name"`
		Description string   `json:"description,omitempty"`
		Event       []event  `json:"event,omitempty"`
		Request     *request `json:"request,omitempty"`
		Response    []answer `json:"response,omitempty"`
		Item        []*item  `json:"item,omitempty"`
	}
	event struct {
		Listen string `json:"listen"`
		Script script `json:"script"`
	}
	script struct {
		Type string   `json:"type"`
		Exec []string `json:"exec"`
	}
	request struct {
		Auth        *auth      `json:"auth,omitempty"` // absent: the collection's
		Method      string     `json:"method"`
		Header      []variable `json:"header"`
		Body        *body      `json:"body,omitempty"`
		URL         address    `json:"url"`
		Description string     `json:"description,omitempty"`
	}
	answer struct {
		Name     string     `json:"name"`
		Original *request   `json:"originalRequest"`
		Status   string     `json:"status"`
		Code     int        `json:"code"`
		Language string     `json:"_postman_previewlanguage"`
		Header   []variable `json:"header"`
		Body     string     `json:"body"`
	}
	auth struct {
		Type   string     `json:"type"`
		Bearer []variable `json:"bearer,omitempty"`
		APIKey []variable `json:"apikey,omitempty"`
	}
	body struct {
		Mode       string     `json:"mode"`
		Raw        string     `json:"raw,omitempty"`
		URLEncoded []variable `json:"urlencoded,omitempty"`
		File       *file      `json:"file,omitempty"`
		Options    any        `json:"options,omitempty"`
	}
	file struct {
		Source string `json:"src"`
	}
	address struct {
		Raw      string     `json:"raw"`
		Host     []string   `json:"host"`
		Path     []string   `json:"path"`
		Query    []variable `json:"query,omitempty"`
		Variable []variable `json:"variable,omitempty"`
	}
	variable struct {
		Key         string `json:"key"`
		Value       string `json:"value"`
		Type        string `json:"type,omitempty"`
		Description string `json:"description,omitempty"`
		Disabled    bool   `json:"disabled,omitempty"`
	}
	environment struct {
		Name   string  `json:"name"`
		Values []value `json:"values"`
		Scope  string  `json:"_postman_variable_scope"`
	}
	value struct {
		Key     string `json:"key"`
		Value   string `json:"value"`
		Type    string `json:"type"`
		Enabled bool   `json:"enabled"`
	}
)

func bearer(name string) *auth {
	return &auth{Type: "bearer", Bearer: []variable{{Key: "token", Value: "{{" + name + "}}", Type: "string"}}}
}

func byKey() *auth {
	return &auth{Type: "apikey", APIKey: []variable{
		{Key: "key", Value: "X-API-Key", Type: "string"},
		{Key: "value", Value: "{{api_key}}", Type: "string"},
		{Key: "in", Value: "header", Type: "string"},
	}}
}

const guide = `

Import this collection and ` + "`ums.postman_environment.json`" + `, select the environment, and set its ` + "`admin_password`" + ` to what ` + "`make run`" + ` printed.
Then run the folder *` + journeyName + `*: each request leaves what the next one needs in the environment.

Every other folder holds the calls of one tag. They call with ` + "`{{access_token}}`" + `, which a sign-in sets; creating something sets its id.`

// collect returns the whole collection: the journey, then a folder for each tag.
func (c *contract) collect() (*collection, error) {
	chain, err := c.journey()
	if err != nil {
		return nil, err
	}
	out := &collection{
		Info: info{
			Name: c.Info.Title, Description: c.Info.Description + guide, Version: c.Info.Version,
			Schema: "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
		},
		Auth:     bearer("access_token"),
		Variable: []variable{{Key: "base_url", Value: c.Servers[0].URL, Type: "string"}},
		Item:     []*item{chain},
	}
	folders := map[string]*item{}
	folder := func(tag, description string) *item {
		if folders[tag] == nil {
			folders[tag] = &item{Name: tag, Description: description}
			out.Item = append(out.Item, folders[tag])
		}
		return folders[tag]
	}
	for _, tag := range c.Tags {
		folder(tag.Name, tag.Description)
	}
	for _, op := range c.operations() {
		f := folder(op.Tags[0], "")
		f.Item = append(f.Item, c.call(op))
	}
	out.Item = slices.DeleteFunc(out.Item, func(i *item) bool { return len(i.Item) == 0 })
	return out, nil
}

// call is the request of one operation, with an example of its answer and a script that keeps what comes back.
func (c *contract) call(o *operation) *item {
	r := &request{
		Method: strings.ToUpper(o.method), Header: []variable{}, URL: c.address(o),
		Description: strings.TrimSpace(o.Summary + ".\n\n" + o.Description),
	}
	if o.public() {
		r.Auth = &auth{Type: "noauth"}
	}
	if o.ID == "getCurrentApiKey" {
		r.Auth = byKey()
	}
	c.fill(r, o)
	for _, p := range o.Parameters {
		if p.In == "header" {
			r.Header = append(r.Header, variable{Key: p.Name, Value: c.header(p.Name), Description: p.Description, Disabled: true})
		}
	}
	out := &item{Name: o.Summary, Request: r, Response: []answer{c.answer(o, r)}}
	if lines := c.keep(o); len(lines) > 0 {
		out.Event = []event{after(lines...)}
	}
	return out
}

func (c *contract) header(name string) string {
	switch name {
	case "Idempotency-Key":
		return "{{$guid}}"
	case "If-Match", "If-None-Match":
		return `"1"`
	}
	return ""
}

var inBraces = regexp.MustCompile(`\{([^{}]+)\}`)

func (c *contract) address(o *operation) address {
	path := inBraces.ReplaceAllString(o.path, ":$1")
	a := address{Raw: "{{base_url}}" + path, Host: []string{"{{base_url}}"}, Path: strings.Split(strings.Trim(path, "/"), "/")}
	for _, p := range o.Parameters {
		v := variable{Key: p.Name, Description: p.Description}
		switch p.In {
		case "path":
			v.Value = subject(o.path, p.Name)
			a.Variable = append(a.Variable, v)
		case "query":
			v.Value, v.Disabled = fmt.Sprint(c.example(p.Name, p.Schema, 0)), true
			if p.Schema.Default != nil {
				v.Value = fmt.Sprint(p.Schema.Default)
			}
			if v.Value == "…" || v.Value == "<nil>" {
				v.Value = ""
			}
			a.Query = append(a.Query, v)
		}
	}
	return a
}

// subject is the variable that fills a parameter of a path: {{api_key_id}} for /api-keys/{id}.
func subject(path, name string) string {
	switch name {
	case "id":
		before, _, _ := strings.Cut(path, "/{id}")
		return "{{" + singular(before) + "_id}}"
	case "name":
		return "reports:read"
	}
	return "{{" + name + "}}"
}

// singular is the noun of a path's last word.
func singular(path string) string {
	word := path[strings.LastIndexByte(path, '/')+1:]
	return strings.ReplaceAll(strings.TrimSuffix(word, "s"), "-", "_")
}

// fill puts an example of the body into a request.
func (c *contract) fill(r *request, o *operation) {
	if o.RequestBody == nil {
		return
	}
	content := o.RequestBody.Content
	media := func(name string) { r.Header = append(r.Header, variable{Key: "Content-Type", Value: name}) }
	if m, ok := content[mediaJSON]; ok {
		media(mediaJSON)
		r.Body = raw(c.body(o, m.Schema))
		return
	}
	if m, ok := content[mediaForm]; ok {
		media(mediaForm)
		r.Body = &body{Mode: "urlencoded"}
		for name, property := range c.resolve(m.Schema).Properties {
			v := variable{Key: name, Value: fmt.Sprint(c.example(name, property, 0)), Description: property.Description}
			if name == "token" {
				v.Value = "{{refresh_token}}"
			}
			r.Body.URLEncoded = append(r.Body.URLEncoded, v)
		}
		slices.SortFunc(r.Body.URLEncoded, func(a, b variable) int { return strings.Compare(a.Key, b.Key) })
		return
	}
	if _, ok := content[mediaLines]; ok {
		media(mediaLines)
		r.Body = &body{Mode: "raw", Raw: `{"kind": "human", "email": "ada@example.com", "display_name": "Ada Lovelace", "email_verified": true}` + "\n"}
		return
	}
	if _, ok := content["image/png"]; ok {
		media("image/png")
	}
	r.Body = &body{Mode: "file", File: &file{}}
}

func raw(example any) *body {
	return &body{Mode: "raw", Raw: text(example), Options: map[string]any{"raw": map[string]any{"language": "json"}}}
}

// answer is an example of success.
func (c *contract) answer(o *operation, r *request) answer {
	status := o.success()
	a := answer{Name: status, Original: r, Status: statusText[status], Language: "json", Header: []variable{}}
	_, _ = fmt.Sscan(status, &a.Code)
	if s := o.result(); s != nil {
		a.Header = append(a.Header, variable{Key: "Content-Type", Value: mediaJSON})
		a.Body = strings.NewReplacer("{{email}}", "grace@example.com", "{{user_id}}", "01a2062d-e8da-7cf2-a66e-4072f15281fb",
			"{{role_id}}", "01a2062e-5b1c-7d20-8c1f-0a4d3c7b9e11", "{{", "", "}}", "").Replace(text(c.example("", s, 0)))
	}
	return a
}

// statusText has the words of net/http, which speaks where the API is served.
var statusText = map[string]string{"200": "OK", "201": "Created", "202": "Accepted", "204": "No Content"}

// keep returns the script that puts into the environment what an answer brings: tokens, the id of what was made, secrets.
func (c *contract) keep(o *operation) []string {
	s := o.result()
	if s == nil {
		return nil
	}
	var names [][2]string // field, variable
	fields := c.resolve(s).Properties
	if len(s.OneOf) > 0 {
		fields = c.resolve(s.OneOf[0]).Properties
	}
	for _, name := range []string{"access_token", "refresh_token", "session_id", "registration_id"} {
		if fields[name] != nil && (name != "session_id" || fields["access_token"] != nil) {
			names = append(names, [2]string{name, name})
		}
	}
	if fields["id"] != nil && o.method == "post" && o.success() == "201" && !strings.Contains(o.path, "{") {
		names = append(names, [2]string{"id", singular(o.path) + "_id"})
		if fields["key"] != nil {
			names = append(names, [2]string{"key", "api_key"})
		}
	}
	if o.ID == "getMe" {
		names = append(names, [2]string{"id", "user_id"})
	}
	if len(names) == 0 {
		return nil
	}
	out := []string{"if (pm.response.code < 300) {", "    const answer = pm.response.json();"}
	for _, n := range names {
		out = append(out, fmt.Sprintf("    if (answer.%s) pm.environment.set(%q, answer.%[1]s);", n[0], n[1]))
	}
	out = append(out, "}")
	if fields["access_token"] != nil { // a first factor alone was right
		out = append(out, `if (pm.response.code === 403) pm.environment.set("mfa_token", pm.response.json().mfa_token || "");`)
	}
	return out
}

func after(lines ...string) event {
	return event{Listen: "test", Script: script{Type: "text/javascript", Exec: lines}}
}

func before(lines ...string) event {
	return event{Listen: "prerequest", Script: script{Type: "text/javascript", Exec: lines}}
}

// given are the values that an environment starts with, in this order; what requests capture comes after them, empty.
var given = []value{
	{Key: "base_url", Value: "http://localhost:8080", Type: "default", Enabled: true},
	{Key: "admin_email", Value: "admin@localhost.test", Type: "default", Enabled: true},
	{Key: "admin_password", Type: "secret", Enabled: true},
	{Key: "email", Value: "grace@example.com", Type: "default", Enabled: true},
	{Key: "password", Value: "correct horse battery", Type: "secret", Enabled: true},
}

var used = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)

// settings returns the environment: everything that the collection names.
func settings(written []byte) environment {
	e := environment{Name: "UMS on this machine", Values: slices.Clone(given), Scope: "environment"}
	var names []string
	for _, m := range used.FindAllSubmatch(written, -1) {
		name := string(m[1])
		if !slices.ContainsFunc(given, func(v value) bool { return v.Key == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		kind := "default"
		if strings.HasSuffix(name, "token") || name == "api_key" {
			kind = "secret"
		}
		e.Values = append(e.Values, value{Key: name, Type: kind, Enabled: true})
	}
	return e
}

// text is JSON as people read it.
func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // maps, strings and numbers always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}
