package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

func load(t *testing.T) (*contract, *openapi3.T) {
	t.Helper()
	source, err := os.ReadFile("../../openapi.yaml")
	require.NoError(t, err)
	c, err := parse(source)
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(source)
	require.NoError(t, err)
	return c, doc
}

// filled stands in for the variables of a body, as an environment would.
var filled = regexp.MustCompile(`\{\{[a-z_]*id\}\}`)

func fill(body string) string {
	return strings.NewReplacer("{{", "", "}}", "").Replace(filled.ReplaceAllString(body, "01a2062d-e8da-7cf2-a66e-4072f15281fb"))
}

// Each operation is in the collection once, and what its examples send and get is what the contract allows.
func TestExamplesFitTheContract(t *testing.T) {
	t.Parallel()
	c, doc := load(t)
	all, err := c.collect()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, folder := range all.Item[1:] {
		for _, i := range folder.Item {
			names[i.Name] = true
		}
	}
	for _, o := range c.operations() {
		require.Contains(t, names, o.Summary)
		declared := doc.Paths.Value(o.path).GetOperation(strings.ToUpper(o.method))
		sent := c.call(o)
		if b := declared.RequestBody; b != nil && b.Value.Content[mediaJSON] != nil {
			var v any
			require.NoError(t, json.Unmarshal([]byte(fill(sent.Request.Body.Raw)), &v), o.ID)
			require.NoError(t, b.Value.Content[mediaJSON].Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()), "%s sends %v", o.ID, v)
		}
		if o.result() != nil {
			var v any
			require.NoError(t, json.Unmarshal([]byte(sent.Response[0].Body), &v), o.ID)
			require.NoError(t, declared.Responses.Value(o.success()).Value.Content[mediaJSON].Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()), "%s gets %v", o.ID, v)
		}
	}
	require.Len(t, names, len(c.operations()))
}

// A credential goes where the contract wants one: the collection's by default, none to public calls.
func TestCredentialsAreInherited(t *testing.T) {
	t.Parallel()
	c, _ := load(t)
	for _, o := range c.operations() {
		switch auth := c.call(o).Request.Auth; {
		case o.public():
			require.Equal(t, "noauth", auth.Type, o.ID)
		case o.ID == "getCurrentApiKey":
			require.Equal(t, "apikey", auth.Type)
		default:
			require.Nil(t, auth, o.ID)
		}
	}
}

// The environment names every variable that a request uses, and holds no secret.
func TestEnvironmentIsComplete(t *testing.T) {
	t.Parallel()
	c, _ := load(t)
	all, err := c.collect()
	require.NoError(t, err)
	written := text(all)
	values := map[string]string{}
	for _, v := range settings([]byte(written)).Values {
		values[v.Key] = v.Value
	}
	for _, m := range used.FindAllStringSubmatch(written, -1) {
		require.Contains(t, values, m[1])
	}
	require.Contains(t, values, "user_id")
	require.Empty(t, values["admin_password"])
	require.Empty(t, values["api_key"])
}

// A contract without an operation of the journey is refused, and so is one that this program does not understand.
func TestWhatCannotBeWrittenIsRefused(t *testing.T) {
	t.Parallel()
	c, _ := load(t)
	delete(c.Paths, "/api/v1/auth/login")
	_, err := c.collect()
	require.ErrorContains(t, err, "login")
	_, err = parse([]byte("paths: {/a: {trace: {tags: [a], responses: {'200': {}}}}}"))
	require.ErrorContains(t, err, "trace /a")
	_, err = parse([]byte("paths: ["))
	require.Error(t, err)
}
