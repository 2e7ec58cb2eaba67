package httpapi

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
)

// plainQuestion is a KeyQuestion with what tells an absent member from an empty one.
type plainQuestion struct {
	Key         *string  `json:"key"`
	Environment *string  `json:"environment"`
	Permissions []string `json:"permissions"`
	IP          *string  `json:"ip"`
}

// read decodes an ordinary question; false leaves the body to huma, which says what is wrong with it.
func (q *KeyQuestion) read(body []byte) bool {
	var plain plainQuestion
	if json.Unmarshal(body, &plain, json.RejectUnknownMembers(true)) != nil || plain.Key == nil || len(*plain.Key) > 4096 || len(plain.Permissions) > 100 {
		return false
	}
	q.Key, q.Permissions = *plain.Key, plain.Permissions
	if plain.Environment != nil {
		if q.Environment = *plain.Environment; q.Environment != "live" && q.Environment != "test" {
			return false
		}
	}
	if plain.IP != nil {
		if q.IP = *plain.IP; len(q.IP) > 64 {
			return false
		}
	}
	return true
}

// verifyKeyDirectly is verifyKey without huma, which is a third of the handler's time.
func (s *Server) verifyKeyDirectly(w http.ResponseWriter, r *http.Request, c *call) bool {
	var in KeyQuestion
	if len(c.faults) > 0 || !in.read(c.body) {
		return false
	}
	verdict, err := s.judgeKey(r.Context(), &in)
	if err != nil {
		return false
	}
	b, _ := verdictBuffers.Get().(*[]byte)
	defer verdictBuffers.Put(b)
	*b = verdict.append((*b)[:0])
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(*b) // net/http takes a copy, and knows the length at the end; the client may be gone
	return true
}

var verdictBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 512)) }}

var jsonType = []string{mediaJSON}

// append writes the verdict; a test holds it against the fields of the type.
func (v *KeyVerdict) append(b []byte) []byte {
	b = strconv.AppendBool(append(b, `{"valid":`...), v.Valid)
	b = appendText(append(b, `,"code":`...), v.Code)
	if v.KeyID != nil {
		b = appendUUID(append(b, `,"key_id":`...), *v.KeyID)
		b = appendUUID(append(b, `,"user_id":`...), *v.UserID)
	} else {
		b = append(b, `,"key_id":null,"user_id":null`...)
	}
	b = append(b, `,"scopes":[`...)
	for i, scope := range v.Scopes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, scope)
	}
	b = appendOptional(append(b, `],"environment":`...), v.Environment)
	b = append(b, `,"expires_at":`...)
	if v.ExpiresAt != nil {
		b = v.ExpiresAt.append(b)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"rate_limit":`...)
	if l := v.RateLimit; l != nil {
		b = strconv.AppendInt(append(b, `{"limit":`...), int64(l.Limit), 10)
		b = strconv.AppendInt(append(b, `,"remaining":`...), int64(l.Remaining), 10)
		b = strconv.AppendInt(append(b, `,"reset_seconds":`...), l.ResetSeconds, 10)
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}')
}
