package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// OAuth's endpoints take forms. The gate turns such a body into the JSON that the route's type describes, so that huma
// needs no second format: its formats are global, and JSON routes would take forms.

const mediaForm = "application/x-www-form-urlencoded"

var (
	errFormMedia = errMediaType.WithDetail("Send the body as " + mediaForm + ", without a Content-Encoding.")
	errForm      = fault.New(fault.Malformed, "malformed_request", "The body is not a well-formed form, or has a parameter twice.")
)

// form is a route whose body is a form with these parameters; others are ignored, as OAuth asks (RFC 6749, section 3.2).
func (r Route) form(parameters ...string) Route { r.Form = parameters; return r }

// formJSON is a form's parameters as a JSON object of strings.
func formJSON(body []byte, parameters []string) ([]byte, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errForm.Because(err)
	}
	object := map[string]string{}
	for name, given := range values {
		switch {
		case len(given) > 1 || !utf8.ValidString(name) || !utf8.ValidString(given[0]):
			return nil, errForm
		case slices.Contains(parameters, name):
			object[name] = given[0]
		}
	}
	return json.Marshal(object)
}

// media lists the types of body that a route takes.
func (r *Route) media() []string {
	switch {
	case r.Picture:
		return pictureMedia
	case r.Lines:
		return []string{mediaNDJSON}
	case r.Form != nil:
		return []string{mediaForm}
	case r.Method == http.MethodPatch:
		return []string{mediaJSON, mediaMerge}
	}
	return []string{mediaJSON}
}
