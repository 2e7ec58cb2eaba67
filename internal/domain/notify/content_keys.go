package notify

import "time"

// keyName is how a mail calls a key, of whose name nothing harmless may be left.
func keyName(name, last4 string) string {
	if shown := harmless(name); shown != "" {
		return shown
	}
	return "…" + last4
}

// KeyLeaked tells that somebody reported an API key as leaked, and that it was ended.
type KeyLeaked struct {
	Name  string
	Key   string // its name
	Last4 string // of its text
	At    time.Time
}

func (KeyLeaked) template() string    { return "key_leaked" }
func (KeyLeaked) life() time.Duration { return noticeLife }
func (c KeyLeaked) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "key": keyName(c.Key, c.Last4), "last4": c.Last4, "time": moment(c.At)}
}

// KeyExpires tells that an API key ends soon.
type KeyExpires struct {
	Name  string
	Key   string
	Last4 string
	At    time.Time // of its end
}

func (KeyExpires) template() string    { return "key_expires" }
func (KeyExpires) life() time.Duration { return noticeLife }
func (c KeyExpires) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "key": keyName(c.Key, c.Last4), "last4": c.Last4, "time": moment(c.At)}
}

// KeySecretInUse tells that a key was rotated and its old secret is still used shortly before it ends.
type KeySecretInUse struct {
	Name   string
	Key    string
	Last4  string // of the old text
	Ends   time.Time
	UsedAt time.Time
	From   string // an address
	By     string // a user agent
}

func (KeySecretInUse) template() string    { return "key_secret_in_use" }
func (KeySecretInUse) life() time.Duration { return noticeLife }
func (c KeySecretInUse) values(Links, language) map[string]string {
	return map[string]string{
		"name": harmless(c.Name), "key": keyName(c.Key, c.Last4), "last4": c.Last4, "ends": moment(c.Ends), "used": moment(c.UsedAt),
		"from": c.From, "by": harmless(c.By),
	}
}
