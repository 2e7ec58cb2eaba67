package user

import (
	"strings"
	"unicode"

	"github.com/user-management-service/ums/internal/platform/fault"
)

var errUnsupported = fault.New(fault.Invalid, "unsupported_filter", "No index serves these filters together.")

const maxFilters = 2

// servable says what no index serves. Two filters at most; by address or last sign-in only what is fixed by status and
// kind is sorted, and nothing that is searched for.
func (f *Filter) servable() error {
	n := 0
	for _, given := range []bool{
		f.Email != "", f.Status != "", f.Role != "", f.Kind != "", !f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero(),
	} {
		if given {
			n++
		}
	}
	byCreation := f.Sort.Field == DefaultSort.Field
	switch {
	case n > maxFilters:
		return errUnsupported.WithDetail("Give at most two filters beside search; created_after and created_before count as one.")
	case f.Search != "" && !byCreation:
		return errUnsupported.WithDetail("A search sorts by created_at only.")
	case !byCreation && (f.Role != "" || !f.CreatedAfter.IsZero() || !f.CreatedBefore.IsZero()):
		return errUnsupported.WithDetail("With role, created_after or created_before, sort by created_at.")
	}
	return nil
}

// ErrShortSearch refuses a term that no trigram finds, where it would have to be compared with everybody.
var ErrShortSearch = errUnsupported.WithDetail("This is too short to be looked for among so many; give three characters.")

// Looked is how many rows a term without trigrams is compared with, in the order of the list. When they do not fill the
// page, and are not all there are, it is refused: an answer is complete or none.
const Looked = 10_000

// Searchable says whether trigrams find the term: three characters in a row that the coding knows as letters.
func Searchable(term string) bool {
	known := 0
	for _, r := range Coded(term) {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			known = 0
		} else if known++; known == 3 {
			return true
		}
	}
	return false
}

// coding is what the function search_code of the database does: marks that names and addresses have often are letters there,
// since trigrams are made of letters and digits alone.
var coding = strings.NewReplacer(".", "j", "@", "q", " ", "x", "\n", "z", "-", "0", "_", "1", "+", "2", "'", "3")

// Coded is a part of a text as the trigrams have it, but for its case.
func Coded(s string) string { return coding.Replace(s) }
