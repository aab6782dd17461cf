package config

import "os"

// Notify is which web services are sent events.
type Notify struct {
	// NotifyFile is a file as services/notifier reads it.
	NotifyFile string `name:"notify-file" help:"File of the endpoints for webhooks, with their secrets, in YAML or JSON; see reelay help notify. It is read again when it changes." env:"REELAY_NOTIFY_FILE" placeholder:"FILE"`
}

// Validate checks every field. Its error is a SettingError.
func (n Notify) Validate() error {
	if n.NotifyFile == "" {
		return nil
	}
	_, err := os.Stat(n.NotifyFile)
	return wrong("--notify-file", "REELAY_NOTIFY_FILE", err)
}
