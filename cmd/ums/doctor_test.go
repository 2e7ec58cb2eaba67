package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/doctor"
)

// What others said is not for the terminal to obey.
func TestDoctorRepeatsNoOrdersToTheTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := &environment{stdout: &out}
	require.NoError(t, e.tellReport(doctor.Report{Findings: []doctor.Finding{
		{Status: doctor.Fail, Check: "mail", Says: "550 \x1b]0;owned\a→ no\u202e", Do: "UMS_TRUSTED_PROXIES=\x1b[2J"},
	}}))
	require.Equal(t, "fail  mail            550 \uFFFD]0;owned\uFFFD→ no\uFFFD\n                      → UMS_TRUSTED_PROXIES=\uFFFD[2J\n", out.String())
}
