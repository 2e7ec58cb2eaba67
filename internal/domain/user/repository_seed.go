package user

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

// seedBatch is how many accounts one COPY brings, well within the time that a statement has.
const seedBatch = 10_000

var (
	seedFirst = strings.Fields(`Ada Alan Amara Ana Anders Anna Aiko Barbara Björn Carlos Chidi Chloé Clara Daniel Diego Edsger Elena Emil Emma
		Farid Fatima Felix Frances Giulia Grace Hana Hannah Hedy Hugo Ines Ivan Jakub Jean João Johanna Jonas José Katherine Kenji Lars
		Laura Lena Leyla Liam Linus Lucía Luis Magda Margaret Maria Mateo Mei Mia Mohammed Nadia Niklaus Noah Olga Omar Oscar Paul Petra
		Priya Radia Rosa Sami Sara Sofia Stefan Sven Tariq Thandi Tim Tomás Ursula Valentina Viktor Wei Yara Yusuf Zoë`)
	seedLast = strings.Fields(`Allen Almeida Andersson Bartik Bauer Becker Bianchi Brown Castillo Chen Costa Dijkstra Dubois Eriksson Fernández
		Fischer Garcia Gruber Haddad Hamilton Hansen Hoffmann Hopper Horvat Ivanova Jansen Johnson Jovanović Kim Klein Kovács Kowalski
		Kumar Lamarr Larsen Liskov Lovelace Martin Mensah Meyer Moreau Müller Nagy Nakamura Nguyen Novák Okafor Olsen Patel Perlman
		Petrov Popescu Ricci Rossi Santos Sato Schmidt Silva Singh Smith Sutherland Suzuki Tanaka Turing Virtanen Wagner Wang Weber Wirth Yilmaz`)
	seedLocales = strings.Fields("en en en de de de-AT fr es pt-BR ja")
	seedZones   = strings.Fields("Europe/Vienna Europe/Berlin Europe/Paris America/New_York America/Sao_Paulo Asia/Tokyo Asia/Kolkata UTC")
	plain       = strings.NewReplacer("ö", "oe", "é", "e", "ã", "a", "í", "i", "á", "a", "ë", "e", "ü", "ue", "ć", "c")
)

// Seed makes n people without passwords, for development: names, addresses at example.com, a few pending or suspended,
// spread over the past ten years. Those of an earlier call stay and are not made again. It returns how many were made.
func Seed(ctx context.Context, db *postgres.Pool, n int) (int64, error) {
	var made int64
	now := time.Now().UTC().Truncate(time.Millisecond)
	spread := 10 * 365 * 24 * time.Hour / time.Duration(max(n, 1))
	for from := 1; from <= n; from += seedBatch {
		people := make([]seeded, 0, seedBatch)
		addresses := make([]string, 0, seedBatch)
		for i := from; i < from+seedBatch && i <= n; i++ {
			p := seedPerson(i, now.Add(-time.Duration(n-i)*spread))
			people, addresses = append(people, p), append(addresses, p.address)
		}
		there, err := seedThere(ctx, db, addresses)
		if err != nil {
			return made, err
		}
		copied, err := db.Raw().CopyFrom(ctx, pgx.Identifier{"users"}, seedColumns, seedRows(people, there))
		if err != nil {
			return made, fmt.Errorf("seed users: %w", err)
		}
		made += copied
	}
	return made, nil
}

// seeded is one made-up person.
type seeded struct {
	name, address, locale, zone string
	status                      Status
	created                     time.Time
	lastLogin                   *time.Time
}

// seedPerson makes the i-th of them, the same at each call but for the times.
func seedPerson(i int, created time.Time) seeded {
	// Neighbours share neither name, and every pair of names has its turn.
	first, last := seedFirst[i%len(seedFirst)], seedLast[(i+i/len(seedFirst))%len(seedLast)]
	p := seeded{
		name: first + " " + last, address: plain.Replace(strings.ToLower(first+"."+last)) + fmt.Sprintf(".%d@example.com", i),
		locale: seedLocales[i%len(seedLocales)], zone: seedZones[i%len(seedZones)], status: Active, created: created,
	}
	switch {
	case i%33 == 0:
		p.status = Pending
	case i%97 == 0:
		p.status = Suspended
	}
	if p.status != Pending && i%5 != 0 {
		at := created.Add(time.Duration(i*7919%1000) * time.Since(created) / 1000).Truncate(time.Millisecond)
		p.lastLogin = &at
	}
	return p
}

func seedThere(ctx context.Context, db postgres.DB, addresses []string) (map[string]bool, error) {
	rows, err := db.Query(ctx, "SELECT email_norm FROM users WHERE email_norm = ANY($1)", addresses)
	if err != nil {
		return nil, fmt.Errorf("find seeded users: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find seeded users: %w", err)
	}
	there := make(map[string]bool, len(found))
	for _, address := range found {
		there[address] = true
	}
	return there, nil
}

var seedColumns = []string{
	"id", "email", "email_norm", "email_verified", "display_name", "locale", "timezone", "status", "last_login_at", "created_at", "updated_at",
}

// seedRows is what COPY reads: whoever is not there yet. Ids are those of the time of creation, as a service makes them.
func seedRows(people []seeded, there map[string]bool) pgx.CopyFromSource {
	at := 0
	return pgx.CopyFromFunc(func() ([]any, error) {
		for at < len(people) && there[people[at].address] {
			at++
		}
		if at == len(people) {
			return nil, nil
		}
		p := people[at]
		at++
		user, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		ms := p.created.UnixMilli()
		for i := range 6 {
			user[i] = byte(ms >> (8 * (5 - i))) //nolint:gosec // one byte at a time is the point
		}
		return []any{
			user, p.address, p.address, p.status != Pending, p.name, p.locale, p.zone, string(p.status), p.lastLogin, p.created, p.created,
		}, nil
	})
}
