package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// contract is what the collection needs to know of api/openapi.yaml.
type contract struct {
	Info struct {
		Title       string `yaml:"title"`
		Description string `yaml:"description"`
		Version     string `yaml:"version"`
	} `yaml:"info"`
	Servers []struct {
		URL string `yaml:"url"`
	} `yaml:"servers"`
	Tags []struct {
		Name        string `yaml:"name"`
		Description string `yaml:"description"`
	} `yaml:"tags"`
	Paths      map[string]map[string]*operation `yaml:"paths"`
	Components struct {
		Schemas map[string]*schema `yaml:"schemas"`
	} `yaml:"components"`
}

// operation is one method of one path.
type operation struct {
	ID          string                `yaml:"operationId"`
	Summary     string                `yaml:"summary"`
	Description string                `yaml:"description"`
	Tags        []string              `yaml:"tags"`
	Security    []map[string][]string `yaml:"security"`
	Parameters  []parameter           `yaml:"parameters"`
	RequestBody *struct {
		Content map[string]media `yaml:"content"`
	} `yaml:"requestBody"`
	Responses map[string]struct {
		Description string           `yaml:"description"`
		Content     map[string]media `yaml:"content"`
	} `yaml:"responses"`

	method, path string
}

type parameter struct {
	Name        string  `yaml:"name"`
	In          string  `yaml:"in"`
	Description string  `yaml:"description"`
	Schema      *schema `yaml:"schema"`
}

type media struct {
	Schema *schema `yaml:"schema"`
}

// schema is the part of JSON Schema that the contract uses.
type schema struct {
	Ref         string             `yaml:"$ref"`
	Type        typeNames          `yaml:"type"`
	Format      string             `yaml:"format"`
	Description string             `yaml:"description"`
	Enum        []any              `yaml:"enum"`
	Minimum     *float64           `yaml:"minimum"`
	MinItems    int                `yaml:"minItems"`
	Default     any                `yaml:"default"`
	Required    []string           `yaml:"required"`
	Properties  map[string]*schema `yaml:"properties"`
	Items       *schema            `yaml:"items"`
	OneOf       []*schema          `yaml:"oneOf"`
}

// typeNames is one name or a list of them.
type typeNames []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *typeNames) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*n = typeNames{node.Value}
		return nil
	}
	var list []string
	err := node.Decode(&list)
	*n = list
	return err
}

// methods in the order in which a folder shows them.
var methods = []string{"get", "post", "put", "patch", "delete"}

func parse(source []byte) (*contract, error) {
	var c contract
	if err := yaml.Unmarshal(source, &c); err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	for path, item := range c.Paths {
		for method, op := range item {
			op.method, op.path = method, path
			if !slices.Contains(methods, method) || len(op.Tags) == 0 || op.success() == "" {
				return nil, fmt.Errorf("%s %s has a method that is not known here, no tag, or no success", method, path)
			}
		}
	}
	return &c, nil
}

// operations returns all of them by path and method, so that equal contracts give equal collections.
func (c *contract) operations() []*operation {
	var all []*operation
	for _, item := range c.Paths {
		for _, op := range item {
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b *operation) int {
		return cmp.Or(strings.Compare(a.path, b.path), slices.Index(methods, a.method)-slices.Index(methods, b.method))
	})
	return all
}

// resolve follows a reference.
func (c *contract) resolve(s *schema) *schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return c.Components.Schemas[name]
	}
	return s
}

// success is the status with which the operation succeeds; the highest, where a setting chooses between several.
func (o *operation) success() string {
	var found string
	for status := range o.Responses {
		if strings.HasPrefix(status, "2") && status > found {
			found = status
		}
	}
	return found
}

// result is the schema of the answer that tells of success in JSON, or nil.
func (o *operation) result() *schema { return o.Responses[o.success()].Content[mediaJSON].Schema }

// public operations take no credential.
func (o *operation) public() bool { return o.Security != nil && len(o.Security) == 0 }
