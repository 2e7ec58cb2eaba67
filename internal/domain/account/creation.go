package account

import (
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/user"
)

// Creation is the event of an account that was made.
func Creation(u *user.User) audit.Event { return creation(u) }
