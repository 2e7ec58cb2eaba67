package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// inputFault is what a client is told of an input that huma refused: all faults in one answer, none with its value.
func (c *call) inputFault(status int, msg string, errs []error) error {
	switch {
	case status == http.StatusBadRequest && len(c.faults) == 0:
		return errMalformed.WithDetail("The request needs a body that is one well-formed JSON document.")
	case status == http.StatusRequestTimeout:
		return problem.ErrTimeout
	case status == http.StatusUnsupportedMediaType:
		return errMediaType
	case status >= http.StatusInternalServerError || len(errs) == 0 && len(c.faults) == 0:
		return fmt.Errorf("huma: %d %s: %v", status, msg, errs)
	}
	found := slices.Clone(c.faults)
	for _, err := range errs {
		switch err := err.(type) { //nolint:errorlint // huma's own values and ours, never wrapped
		case ruleFault:
			found = append(found, fault.Field(err))
		case huma.ErrorDetailer:
			if status != http.StatusBadRequest { // else the parser's word on what checkJSON has already said better
				found = append(found, inputField(err.ErrorDetail().Location, err.ErrorDetail().Message))
			}
		default:
			return fmt.Errorf("huma: %d %s: %w", status, msg, err)
		}
	}
	var v fault.Validation
	seen := map[string]bool{}
	for _, f := range found {
		if !seen[f.Pointer] { // the first fault of a value says enough
			v.Add(f.Pointer, f.Code, f.Detail)
		}
		seen[f.Pointer] = true
	}
	return v.Err()
}

// ruleFault is a fault that a service's rule finds in a body whose shape is wrong as well, so that one answer has both.
type ruleFault fault.Field

func (f ruleFault) Error() string { return f.Pointer + " " + f.Code }

// ruleFaults returns the faults in err for a huma.Resolver. When the shape is right the service finds them itself.
func ruleFaults(err error) []error {
	f := fault.As(err)
	if f == nil {
		return nil
	}
	out := make([]error, len(f.Fields))
	for i, field := range f.Fields {
		out[i] = ruleFault(field)
	}
	return out
}

// Codes of the faults of single values, by the beginning of huma's message. Longer beginnings come first.
var inputCodes = []struct{ message, code, detail string }{
	{"required ", "required", "This parameter is required."},
	{validation.MsgUnexpectedProperty, "unknown_field", "This field does not exist here; names are case-sensitive."},
	{"expected required property", "required", "This field is required."},
	{"expected length <=", "too_long", ""},
	{"expected length >=", "too_short", ""},
	{"expected array length <=", "too_many", ""},
	{"expected array length >=", "too_few", ""},
	{"expected array items to be unique", "not_unique", ""},
	{"expected object with at most", "too_many", ""},
	{"expected object with at least", "too_few", ""},
	{"expected number <", "out_of_range", ""},
	{"expected number >", "out_of_range", ""},
	{"expected value to be one of", "not_allowed", ""},
	{"expected string to match pattern", "invalid_format", ""},
	{"expected string to be", "invalid_format", ""},
	{validation.MsgExpectedBoolean, "invalid_type", ""},
	{validation.MsgExpectedNumber, "invalid_type", ""},
	{validation.MsgExpectedInteger, "invalid_type", ""},
	{validation.MsgExpectedString, "invalid_type", ""},
	{validation.MsgExpectedArray, "invalid_type", ""},
	{validation.MsgExpectedObject, "invalid_type", ""},
	{"invalid integer", "invalid_type", "This must be an integer."},
	{"invalid boolean", "invalid_type", "This must be true or false."},
	{"invalid date/time", "invalid_format", "This must be an RFC 3339 time."},
}

// inputField translates huma's location (body.items[3].name) into a pointer, and its message into a code.
// No message of huma's that is passed on contains the value.
func inputField(location, message string) fault.Field {
	f := fault.Field{Code: "invalid", Detail: "This value is not acceptable."}
	for _, c := range inputCodes {
		if strings.HasPrefix(message, c.message) {
			f.Code, f.Detail = c.code, c.detail
			if f.Detail == "" {
				f.Detail = strings.ToUpper(message[:1]) + message[1:] + "."
			}
			break
		}
	}
	path, isBody := strings.CutPrefix(location, "body")
	if !isBody {
		where, name, _ := strings.Cut(location, ".")
		f.Pointer = where + "/" + name
		return f
	}
	f.Pointer = strings.NewReplacer("~", "~0", "/", "~1", ".", "/", "[", "/", "]", "").Replace(path)
	if name, ok := strings.CutPrefix(message, "expected required property "); ok {
		f.Pointer += "/" + strings.TrimSuffix(name, " to be present")
	}
	return f
}
