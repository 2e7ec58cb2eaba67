package profile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Config says what attributes may hold, and where avatars are kept.
type Config struct {
	// SchemaFile is a JSON Schema (2020-12); empty: any object of 16 KiB and 8 levels.
	SchemaFile string `env:"UMS_PROFILE_SCHEMA"`
	// AvatarStore is a bucket of an S3-compatible store; empty: the database.
	AvatarStore secret.Text `env:"UMS_AVATAR_S3_URL"`
}

// Schema is the operator's idea of attributes. Nil allows every object.
type Schema struct{ compiled *jsonschema.Schema }

const draft = "https://json-schema.org/draft/2020-12/schema"

// LoadSchema reads the configured schema, nil when there is none. It must be whole: what it refers to elsewhere is not
// fetched. Formats are asserted.
func LoadSchema(cfg Config) (*Schema, error) {
	if cfg.SchemaFile == "" {
		return nil, nil //nolint:nilnil // no schema is no error
	}
	fail := func(err error) (*Schema, error) { return nil, fmt.Errorf("UMS_PROFILE_SCHEMA: %w", err) }
	text, err := os.ReadFile(cfg.SchemaFile)
	if err != nil {
		return fail(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fail(fmt.Errorf("%s is no JSON: %w", cfg.SchemaFile, err))
	}
	members, ok := doc.(map[string]any)
	if !ok {
		return fail(fmt.Errorf("%s is no JSON object", cfg.SchemaFile))
	}
	if given, has := members["$schema"]; has {
		if name, _ := given.(string); strings.TrimSuffix(name, "#") != draft {
			return fail(fmt.Errorf("%s is of another draft; $schema must be %s", cfg.SchemaFile, draft))
		}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(nowhere{})
	const name = "urn:ums:profile-attributes"
	if err := c.AddResource(name, doc); err != nil {
		return fail(err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", cfg.SchemaFile, err))
	}
	return &Schema{compiled}, nil
}

// nowhere keeps schemas from being fetched.
type nowhere struct{}

// Load implements jsonschema.URLLoader.
func (nowhere) Load(string) (any, error) {
	return nil, errors.New("schemas from elsewhere are not loaded; put them into $defs")
}

// check records what the schema does not allow, each fault by its place.
func (s *Schema) check(v *fault.Validation, attributes jsontext.Value) error {
	if s == nil {
		return nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(attributes))
	if err != nil {
		return fmt.Errorf("read attributes: %w", err)
	}
	var invalid *jsonschema.ValidationError
	switch err := s.compiled.Validate(doc); {
	case err == nil:
		return nil
	case !errors.As(err, &invalid):
		return fmt.Errorf("check attributes: %w", err)
	}
	leaves(v, invalid)
	return nil
}

// leaves records the innermost faults.
func leaves(v *fault.Validation, e *jsonschema.ValidationError) {
	for _, cause := range e.Causes {
		leaves(v, cause)
	}
	if len(e.Causes) > 0 {
		return
	}
	at := pointer(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			v.Add(at+pointerPart(name), "required", "The schema of attributes requires this.")
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			v.Add(at+pointerPart(name), "unknown_field", "The schema of attributes does not have this.")
		}
		return
	}
	keyword := ""
	if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
		keyword = path[len(path)-1]
	}
	code, ok := keywordCodes[keyword]
	if !ok {
		code = "invalid"
	}
	detail := "The schema of attributes does not allow this value."
	if keyword != "" {
		detail = "The schema of attributes does not allow this value; see its keyword " + keyword + "."
	}
	v.Add(at, code, detail)
}

var keywordCodes = map[string]string{
	"type": "invalid_type", "enum": "not_allowed", "const": "not_allowed", "format": "invalid_format", "pattern": "invalid_format",
	"minLength": "too_short", "maxLength": "too_long", "minItems": "too_few", "maxItems": "too_many", "uniqueItems": "not_unique",
	"minProperties": "too_few", "maxProperties": "too_many", "minimum": "out_of_range", "maximum": "out_of_range",
	"exclusiveMinimum": "out_of_range", "exclusiveMaximum": "out_of_range", "multipleOf": "out_of_range",
}

func pointer(location []string) string {
	var b strings.Builder
	b.WriteString("/attributes")
	for _, part := range location {
		b.WriteString(pointerPart(part))
	}
	return b.String()
}

func pointerPart(name string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
