package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/upkeep"
)

func (e *environment) restoreFinish() *cobra.Command {
	var revokeKeys, asJSON bool
	cmd := &cobra.Command{
		Use: "restore-finish", Short: "End what a restored database would let live again; run it before the service starts on a backup",
		Long: "End what a database out of a backup would let live again: sessions, tokens, mailed links and signing keys that were revoked, used or\n" +
			"replaced after the backup was made. Everybody signs in anew. API keys live on, those too that were revoked since; --revoke-api-keys ends\n" +
			"them all. It happens in one transaction, is in the audit log, and does no harm when it is run again.",
		Example: "  ums restore-finish\n  ums restore-finish --revoke-api-keys --json", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			r, err := app.FinishRestore(cmd.Context(), cfg, revokeKeys)
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(map[string]any{
					"accounts": r.Accounts, "sessions": r.Sessions, "one_time_tokens": r.OneTimeTokens, "pending_sign_ins": r.PendingSignIns,
					"challenges": r.Challenges, "answers": r.Answers, "mails": r.Mails,
					"api_keys": map[string]any{"revoked": r.KeysRevoked, "alive": r.KeysAlive},
					"signing_keys": map[string]any{
						"kid": r.Key.KID, "algorithm": r.Key.Algorithm, "replaced": append([]string{}, r.Key.Replaced...),
					},
				})
			}
			return e.tellRestore(r)
		},
	}
	cmd.Flags().BoolVar(&revokeKeys, "revoke-api-keys", false, "revoke every API key too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (e *environment) tellRestore(r upkeep.Restored) error {
	var b strings.Builder
	fmt.Fprintf(&b, "accounts          %d: what was issued to them before is void\n", r.Accounts)
	fmt.Fprintf(&b, "sessions          %d ended: everybody signs in anew\n", r.Sessions)
	fmt.Fprintf(&b, "started sign-ins  %d ended\n", r.PendingSignIns+r.Challenges)
	fmt.Fprintf(&b, "links and codes   %d void: who waits for one asks for another\n", r.OneTimeTokens)
	fmt.Fprintf(&b, "waiting mails     %d canceled\n", r.Mails)
	fmt.Fprintf(&b, "kept answers      %d deleted: a repeated request is a new one\n", r.Answers)
	fmt.Fprintf(&b, "signing keys      %d ended, %s (%s) signs from now on\n", len(r.Key.Replaced), r.Key.KID, r.Key.Algorithm)
	if r.KeysRevoked > 0 {
		fmt.Fprintf(&b, "API keys          %d revoked\n", r.KeysRevoked)
	}
	if r.KeysAlive > 0 {
		fmt.Fprintf(&b, "API keys          %d are alive; revoke those that were revoked or leaked after the backup, or run this with --revoke-api-keys\n", r.KeysAlive)
	}
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}
