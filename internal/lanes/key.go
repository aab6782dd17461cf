package lanes

import (
	"context"

	"reelay/internal/provider/registry"
	"reelay/internal/secret"
)

// CheckKey asks a provider whether it takes a key, by a call that is free; asked is false where it has no such call. An
// empty base URL is the provider's own. Its error says why the key is refused, or that nobody could be asked.
func CheckKey(ctx context.Context, p registry.Provider, key secret.Value, baseURL string) (asked bool, err error) {
	d, err := driver(p.Name, key, map[string]string{p.BaseURL().Flag: baseURL}, nil)
	if err != nil {
		return true, err
	}
	c, ok := d.(interface{ CheckKey(context.Context) error })
	if !ok {
		return false, nil
	}
	return true, c.CheckKey(ctx)
}
