package role_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/patch"
)

// An edit or a forced deletion of a role takes from its holders what an unassignment takes from one: nobody does it to
// whom he may not touch.
func TestAZ03_RolesOfThoseAboveAreNotEdited(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.manager()
	shared := b.role("shared", []string{"users:read"})
	heir := b.role("heir", nil, "shared")
	auditor := b.role("auditor", []string{"audit:read"})
	above := b.user("above", "suspended", auditor)
	edit := func() error {
		_, err := b.Update(b.ctx, m, shared.ID, role.Patch{RequireMFA: patch.To(false)}, nil)
		return err
	}
	refused := func() {
		t.Helper()
		require.ErrorIs(t, edit(), actor.ErrEscalation)
		_, err := b.PreviewDelete(b.ctx, m, shared.ID, true, nil)
		require.ErrorIs(t, err, actor.ErrEscalation)
		require.ErrorIs(t, b.Delete(b.ctx, m, shared.ID, true, nil), actor.ErrEscalation)
	}
	b.user("plain", "active", shared)
	require.NoError(t, edit())
	for _, r := range []role.Role{shared, heir} {
		require.NoError(t, b.Assign(b.ctx, b.root, above.UserID, r.ID, nil))
		refused()
		b.sql("UPDATE user_roles SET expires_at = now() - interval '1 s' WHERE role_id = $1", r.ID)
		require.NoError(t, edit(), "what has expired is not held")
	}
	// Everybody holds role `user`, so who is above anybody else edits it: nobody but those above all.
	_, err := b.Update(b.ctx, m, role.UserID, role.Patch{RequireMFA: patch.To(true)}, nil)
	require.ErrorIs(t, err, actor.ErrEscalation)

	// What he lacks for a while only counts while it lasts; what is his own is no obstacle.
	soon := time.Now().Add(time.Hour)
	require.NoError(t, b.Assign(b.ctx, b.root, above.UserID, shared.ID, &soon))
	refused()
	require.NoError(t, b.Unassign(b.ctx, b.root, above.UserID, auditor.ID))
	require.NoError(t, edit())
	require.NoError(t, b.Assign(b.ctx, b.root, m.UserID, shared.ID, nil))
	require.NoError(t, b.Delete(b.ctx, m, shared.ID, true, nil))
}

// A passkey is a credential that an administrator can sign in with.
func TestAZ06_AnAdministratorWithAPasskeyAloneCounts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	second := b.user("second", "active")
	require.NoError(t, b.Assign(b.ctx, b.root, second.UserID, role.AdminID, nil))
	b.sql("UPDATE users SET password_hash = NULL WHERE id = $1", second.UserID)
	require.ErrorIs(t, b.Unassign(b.ctx, b.root, b.root.UserID, role.AdminID), role.ErrLastAdmin)
	b.sql(`INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, aaguid, transports, backup_eligible, backed_up, name)
		VALUES (gen_random_uuid(), $1, 'c', 'k', 0, gen_random_uuid(), '{}', false, false, 'p')`, second.UserID)
	require.NoError(t, b.Unassign(b.ctx, b.root, b.root.UserID, role.AdminID))
	require.ErrorIs(t, b.Unassign(b.ctx, b.fresh(second), second.UserID, role.AdminID), role.ErrLastAdmin)
}
