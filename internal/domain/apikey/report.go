package apikey

import (
	"context"
	"slices"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
)

const (
	// unusedAfter is how many days without a use make a scope unused.
	unusedAfter = 90
	// keptDays is how long counts stay.
	keptDays = 400
)

// Day is what a key did on one day (UTC).
type Day struct {
	Date                     time.Time
	Allowed, Denied, Limited int64
	ByReason                 map[string]int64 // of what was not allowed
	ByPermission             map[string]int64 // of what was; a request may use several or none
}

// Report is what a key did, newest day first, and which of its scopes nobody needed within 90 days.
type Report struct {
	Days         []Day
	UnusedScopes []string
}

// UsageOf reports on a key of one's own or, with ReadPermission, of anybody; else it is hidden. Days without a use are left
// out. Up to five seconds and whatever a killed replica had counted since its last write are missing.
func (s *Service) UsageOf(ctx context.Context, by actor.Actor, key id.ID, days int) (Report, error) {
	k, err := s.Get(ctx, by, key)
	if err != nil {
		return Report{}, err
	}
	rows, err := readUsage(ctx, s.Pool, key, days)
	if err != nil {
		return Report{}, err
	}
	used, err := usedPermissions(ctx, s.Pool, key, unusedAfter)
	if err != nil {
		return Report{}, err
	}
	r := Report{Days: byDay(rows), UnusedScopes: []string{}}
	for _, scope := range k.Scopes {
		if !slices.ContainsFunc(used, func(p string) bool { return actor.Covers(scope, p) }) {
			r.UnusedScopes = append(r.UnusedScopes, scope)
		}
	}
	return r, nil
}

// byDay groups rows, which are in descending order of their days.
func byDay(rows []usageRow) []Day {
	days := []Day{}
	for _, row := range rows {
		if n := len(days); n == 0 || !days[n-1].Date.Equal(row.Day) {
			days = append(days, Day{Date: row.Day, ByReason: map[string]int64{}, ByPermission: map[string]int64{}})
		}
		d := &days[len(days)-1]
		switch row.Kind {
		case permissionKind:
			d.ByPermission[row.Name] = row.Count
			continue
		case string(Allowed):
			d.Allowed += row.Count
			continue
		case string(Denied):
			d.Denied += row.Count
		case string(Limited):
			d.Limited += row.Count
		}
		d.ByReason[row.Name] += row.Count
	}
	return days
}

// SweepUsage deletes counts of long ago.
func (s *Service) SweepUsage(ctx context.Context) error { return sweepUsage(ctx, s.Pool, keptDays) }
