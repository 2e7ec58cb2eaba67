package pages

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
)

const passkeysPath = "/dev/passkeys"

// MountPasskeys adds the development page on which passkeys are tried: it registers, signs in and removes as a frontend
// would. It belongs into development, as whatever is for trying out; it can do nothing that the API does not let anybody do.
func MountPasskeys(r chi.Router) {
	var body bytes.Buffer
	if err := parsed.ExecuteTemplate(&body, "passkeys.html", nil); err != nil {
		panic(fmt.Sprintf("page of passkeys: %v", err)) // embedded and constant: a test renders it
	}
	get(r, passkeysPath, func(w http.ResponseWriter, req *http.Request) { serveHTML(w, req, pagePolicy, body.Bytes()) })
	get(r, passkeysPath+"/pages.css", asset("pages.css", "text/css; charset=utf-8"))
	get(r, passkeysPath+"/passkeys.js", asset("passkeys.js", "text/javascript; charset=utf-8"))
}
