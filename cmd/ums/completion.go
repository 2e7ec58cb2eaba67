package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// completion prints a script that asks this binary what comes next, so that it knows the commands and flags that there are.
func (e *environment) completion() *cobra.Command {
	shells := map[string]func(*cobra.Command) error{
		"bash": func(root *cobra.Command) error {
			if _, err := fmt.Fprint(e.stdout, withoutPackage); err != nil {
				return err
			}
			return root.GenBashCompletionV2(e.stdout, true)
		},
		"zsh":  func(root *cobra.Command) error { return root.GenZshCompletion(e.stdout) },
		"fish": func(root *cobra.Command) error { return root.GenFishCompletion(e.stdout, true) },
	}
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print a script by which a shell completes commands and flags",
		Example: "  source <(ums completion bash)\n" +
			"  ums completion bash > /etc/bash_completion.d/ums\n" +
			"  ums completion zsh > \"${fpath[1]}/_ums\"\n" +
			"  ums completion fish > ~/.config/fish/completions/ums.fish",
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || shells[args[0]] == nil {
				return usageError{fmt.Errorf("give one of bash, zsh, fish; see %s --help", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return shells[args[0]](cmd.Root()) },
	}
}

// withoutPackage stands in for the one function of the package bash-completion that the script needs.
const withoutPackage = `if ! declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref() {
        cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    }
fi
`
