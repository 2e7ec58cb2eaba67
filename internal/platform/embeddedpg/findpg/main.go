// Findpg prints the folder of the PostgreSQL binaries that the service would use, or says what to do and exits with 1.
// The scripts ask it, so that there is one search and not two.
package main

import (
	"fmt"
	"os"

	"github.com/user-management-service/ums/internal/platform/embeddedpg"
)

func main() {
	dir, err := embeddedpg.Find()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
