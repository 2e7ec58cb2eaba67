package notify

import (
	"strconv"
	"time"
)

// FactorEvent is what happened to the second factors of an account.
type FactorEvent string

// The events.
const (
	FactorAdded   FactorEvent = "added"
	FactorRemoved FactorEvent = "removed"
	FactorsReset  FactorEvent = "reset"      // by an administrator
	RecoveryMade  FactorEvent = "codes_made" // the old codes are dead
)

// SecondFactor tells the owner what happened to his second factors: whoever did it may not have been he.
type SecondFactor struct {
	Name   string
	Event  FactorEvent
	Factor string // the factor's name, may be empty: of FactorAdded and FactorRemoved
	At     time.Time
}

func (SecondFactor) template() string    { return "second_factor" }
func (SecondFactor) life() time.Duration { return noticeLife }
func (c SecondFactor) values(Links, language) map[string]string {
	return map[string]string{
		"name": harmless(c.Name), "event": string(c.Event), "factor": harmless(c.Factor), "time": moment(c.At),
	}
}

// RecoveryCodeUsed tells the owner that a recovery code took the place of his second factor.
type RecoveryCodeUsed struct {
	Name string
	Left int // codes that still work
	At   time.Time
}

func (RecoveryCodeUsed) template() string    { return "recovery_code_used" }
func (RecoveryCodeUsed) life() time.Duration { return noticeLife }
func (c RecoveryCodeUsed) values(Links, language) map[string]string {
	return map[string]string{"name": harmless(c.Name), "left": strconv.Itoa(c.Left), "time": moment(c.At)}
}
