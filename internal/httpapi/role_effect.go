package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/user-management-service/ums/internal/domain/role"
)

// DryRun is the input of changes that can be tried.
type DryRun struct {
	DryRun bool `query:"dry_run" doc:"Try it: the same refusals, and otherwise what it would do, of which nothing is done."`
}

// RoleEffect is what a change of a role would do to those who hold it, directly or through a role that inherits it.
type RoleEffect struct {
	Gained        []string `json:"gained" doc:"Permissions that at least one account would gain."`
	Lost          []string `json:"lost" doc:"Permissions that at least one account would lose."`
	UsersAffected int64    `json:"users_affected" doc:"Accounts, of any status, whose permissions would change, or who lack a second factor that would be asked for from then on, or no longer."`
	KeysAffected  int64    `json:"keys_affected" doc:"Living API keys for which that is so."`
}

func encodeEffect(e role.Effect) RoleEffect {
	return RoleEffect{Gained: e.Gained, Lost: e.Lost, UsersAffected: e.Users, KeysAffected: e.Keys}
}

// changedRole is a role that has been changed, or the effect that the change would have.
type changedRole struct {
	role   *Role
	effect *RoleEffect
}

// MarshalJSON writes whichever it is.
func (c changedRole) MarshalJSON() ([]byte, error) {
	if c.effect != nil {
		return json.Marshal(c.effect)
	}
	return json.Marshal(c.role)
}

// Schema implements huma.SchemaProvider.
func (changedRole) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		r.Schema(reflect.TypeFor[Role](), true, "Role"), r.Schema(reflect.TypeFor[RoleEffect](), true, "RoleEffect"),
	}}
}

func effectAnswer(e role.Effect, err error) (*single[changedRole], error) {
	if err != nil {
		return nil, err
	}
	effect := encodeEffect(e)
	return &single[changedRole]{Body: changedRole{effect: &effect}}, nil
}

// removal is the answer to a deletion: nothing, or the effect that it would have.
type removal struct {
	Status int // 204 or 200
	Body   *RoleEffect
}

func removalEffect(e role.Effect, err error) (*removal, error) {
	if err != nil {
		return nil, err
	}
	effect := encodeEffect(e)
	return &removal{Status: http.StatusOK, Body: &effect}, nil
}
