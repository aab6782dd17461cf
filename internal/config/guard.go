package config

// Guard is what a person allows a process that spends, against the judgement of package storeguard.
type Guard struct {
	AcceptNewStore        bool `help:"Spend although the broker's store is another one than before, or has forgotten records. For one start only, after a person has seen what was paid." env:"REELAY_ACCEPT_NEW_STORE"`
	AllowUnsyncedSpending bool `help:"Spend although a single broker acknowledges writes before they are on disk." env:"REELAY_ALLOW_UNSYNCED_SPENDING"`
}
