package config

import (
	"errors"
	"fmt"
	"os"

	"reelay/events"
	"reelay/internal/address"
	"reelay/internal/secret"
)

// MCPListen is where the MCP service listens by default.
const MCPListen = "127.0.0.1:8091"

const (
	// EnvMCPKey has the key with which the replicas of the MCP service sign their questions about money.
	EnvMCPKey = "REELAY_MCP_KEY"
	// minMCPKey is the least length of that key.
	minMCPKey = 32
	// maxConfirmOver bounds what needs no approval, in US dollars.
	maxConfirmOver = 1e6
)

// MCP is how agents reach the MCP service, and who they are.
type MCP struct {
	MCPListen string `name:"mcp-listen" help:"Address of the MCP endpoint for agents, /mcp." env:"REELAY_MCP_LISTEN" default:"${mcp_listen}" placeholder:"HOST:PORT"`
	// MCPTokens is a file as internal/access reads it. Without it everybody who reaches the address is let in, so that it
	// must be a loopback address.
	MCPTokens  string `name:"mcp-tokens" help:"File of the bearer tokens of agents with their projects and roles; none only at a loopback address." env:"REELAY_MCP_TOKENS" placeholder:"FILE"`
	MCPProject string `name:"mcp-project" help:"Project that an agent without a token means where it names none." env:"REELAY_PROJECT" default:"default" placeholder:"PROJECT"`
	// ConfirmOver bounds what an agent may spend with one call without a person's approval.
	ConfirmOver float64 `help:"Agents have to ask a person before a call that costs more than this, in US dollars; 0 never asks." env:"REELAY_CONFIRM_OVER" default:"1" placeholder:"USD"`
}

// MCPKey reads REELAY_MCP_KEY, at least 32 bytes; empty if it is not set. Its error is a SettingError and holds no key.
func MCPKey() (secret.Value, error) {
	key, err := secret.Lookup(EnvMCPKey)
	if err == nil && !key.Empty() && len(key.Reveal()) < minMCPKey {
		err = fmt.Errorf("must have at least %d bytes", minMCPKey)
	}
	return key, wrong(EnvMCPKey, EnvMCPKey, err)
}

// Validate checks every field. Its error is a SettingError.
func (m MCP) Validate() error {
	if err := checkHostPort(m.MCPListen); err != nil {
		return wrong("--mcp-listen", "REELAY_MCP_LISTEN", err)
	}
	if !events.ValidToken(m.MCPProject) {
		return wrong("--mcp-project", "REELAY_PROJECT", errors.New("must be 1 to 64 characters of A-Z a-z 0-9 _ -"))
	}
	if err := CheckConfirmOver(m.ConfirmOver); err != nil {
		return err
	}
	if m.MCPTokens == "" {
		if !address.IsLocal(m.MCPListen) {
			return wrong("--mcp-tokens", "REELAY_MCP_TOKENS", errors.New("must be set: "+m.MCPListen+" is not a loopback address"))
		}
		return nil
	}
	_, err := os.Stat(m.MCPTokens)
	return wrong("--mcp-tokens", "REELAY_MCP_TOKENS", err)
}

// CheckConfirmOver checks --confirm-over. Its error is a SettingError.
func CheckConfirmOver(usd float64) error {
	if !(usd >= 0 && usd <= maxConfirmOver) {
		return wrong("--confirm-over", "REELAY_CONFIRM_OVER", fmt.Errorf("must be 0 to %.0f US dollars", maxConfirmOver))
	}
	return nil
}
