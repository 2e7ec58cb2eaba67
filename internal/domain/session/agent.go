package session

import (
	"strings"

	"github.com/mileusna/useragent"
)

// UnknownAgent is the family of programs that do not say what they are.
const UnknownAgent = "unknown program"

// maxAgent bounds a family in code points: programs that no list knows name themselves.
const maxAgent = 60

// Agent names the program of a User-Agent header without its versions, as in "Firefox on Linux". Programs of one name are
// one family: a browser that has updated itself is no other device.
func Agent(header string) string {
	text := clean(header, maxUserAgent)
	if text == nil {
		return UnknownAgent
	}
	ua := useragent.Parse(*text)
	name := strings.TrimSpace(ua.Name)
	if ua.Name == ua.String { // nothing in it has a version: the first word is what it calls itself
		name, _, _ = strings.Cut(name, " ")
	}
	if known := clean(name, maxAgent); known != nil {
		name = *known
	} else {
		name = UnknownAgent
	}
	if ua.OS != "" {
		name += " on " + ua.OS
	}
	return name
}

// Device is what a person calls the device of a session by: the name that it was given, else its program.
func (s Session) Device() *string {
	if s.DeviceName != nil || s.UserAgent == nil {
		return s.DeviceName
	}
	return new(Agent(*s.UserAgent))
}
