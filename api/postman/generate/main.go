// Generate reads the contract from standard input and writes a Postman collection and its environment into the folder
// that it is given. A generator of our own: the collection's first folder is a chain of requests that hand on what they
// get, and the names in the environment follow from the contract's paths; general generators know neither.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader) error {
	if len(args) != 1 {
		return fmt.Errorf("name one folder: generate api/postman < api/openapi.yaml")
	}
	source, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	c, err := parse(source)
	if err != nil {
		return err
	}
	all, err := c.collect()
	if err != nil {
		return err
	}
	written := []byte(text(all) + "\n")
	for name, content := range map[string][]byte{
		"ums.postman_collection.json":  written,
		"ums.postman_environment.json": []byte(text(settings(written)) + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(args[0], name), content, 0o644); err != nil { //nolint:gosec // for everybody to read
			return err
		}
	}
	return nil
}
