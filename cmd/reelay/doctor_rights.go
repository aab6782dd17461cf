package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"reelay/events/rights"
	"reelay/internal/accounts"
	"reelay/internal/address"
	"reelay/internal/config"
)

// checkBroker tells whether the broker asks who connects.
func (a *api) checkBroker() check {
	at, err := url.Parse(a.nc.ConnectedUrl())
	switch {
	case a.nc.AuthRequired():
		return check{levelOK, "who connects", "the broker asks", ""}
	case err == nil && address.IsLoopback(at.Hostname()):
		return check{levelOK, "who connects", "the broker asks nobody who he is, and programs of this machine alone reach it", ""}
	}
	return check{
		levelFail, "who connects", "the broker asks nobody who he is: whoever reaches it can spend money and read everything",
		"reelay auth init DIR, and run the server and the services with what it makes",
	}
}

// checkRights compares what each service of an installation may do, as the server knows it, with what it needs, and
// looks at who else is in reelay's account, and at the files of the keys.
func (a *api) checkRights(ctx context.Context, dir string) (checks []check) {
	installation, err := accounts.Load(dir)
	if err != nil {
		return []check{{levelFail, "rights", err.Error(), "--auth: name the folder that `reelay auth init` has made"}}
	}
	own := map[string]bool{}
	for _, u := range installation.Users {
		if u.Tenant == nil {
			own[u.Key] = true
		}
		for _, file := range []string{accounts.KeyFile(dir, u.Name), accounts.ContextFile(dir, u.Name)} {
			if c, bad := checkFile(file); bad {
				checks = append(checks, c)
			}
		}
		if u.Tenant == nil && u.Name != accounts.Operator {
			checks = append(checks, checkService(ctx, dir, u.Name))
		}
	}
	return append(checks, a.checkStrangers(ctx, own)...)
}

// checkFile tells of a file that others can read.
func checkFile(file string) (check, bool) {
	info, err := os.Stat(file)
	if err != nil {
		return check{levelFail, "rights", err.Error(), "reelay auth revoke makes a new one"}, true
	}
	if info.Mode().Perm()&0o077 != 0 {
		return check{levelFail, "rights", accounts.ErrReadable.Error() + ": " + file, "chmod 600 " + file + ", or reelay auth revoke if they may have"}, true
	}
	return check{}, false
}

// A userInfo is what a server says of the user that asks.
type userInfo struct {
	Data struct {
		Account     string `json:"account"`
		Permissions *struct {
			Publish, Subscribe struct {
				Allow []string `json:"allow"`
			}
		} `json:"permissions"`
	} `json:"data"`
}

// checkService asks the server as a service what that may do.
func checkService(ctx context.Context, dir, name string) check {
	about := "rights of " + name
	nc, err := config.NATS{Context: accounts.ContextFile(dir, name)}.ConnectOnce("reelay doctor", slog.New(slog.DiscardHandler))
	if err != nil {
		return check{levelFail, about, err.Error(), "does the server run with " + accounts.ConfigFile + " of this folder?"}
	}
	defer nc.Close()
	m, err := bounded(ctx, func(ctx context.Context) (*nats.Msg, error) {
		return nc.RequestWithContext(ctx, rights.UserInfo, nil)
	})
	var is userInfo
	if err == nil {
		err = json.Unmarshal(m.Data, &is)
	}
	const anew = "write the configuration anew with `reelay auth add`, and have the server read it: nats-server --signal reload"
	switch of := rights.Of(name); {
	case err != nil:
		return check{levelFail, about, "it cannot ask what it may do: " + err.Error(), anew}
	case is.Data.Permissions == nil:
		return check{levelFail, about, "it may do everything in account " + is.Data.Account, anew}
	default:
		p := is.Data.Permissions
		missing := append(without(of.Publish, p.Publish.Allow), without(of.Subscribe, p.Subscribe.Allow)...)
		excess := append(without(p.Publish.Allow, of.Publish), without(p.Subscribe.Allow, of.Subscribe)...)
		if len(missing)+len(excess) == 0 {
			return check{levelOK, about, "what it needs, and no more", ""}
		}
		return check{
			levelFail, about, fmt.Sprintf("it lacks %d subjects (%s) and has %d that it does not need (%s)", len(missing), some(missing), len(excess),
				some(excess)), anew,
		}
	}
}

// without are those of all that are not among some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

// some shows the first of many.
func some(all []string) string {
	const few = 5
	if len(all) <= few {
		return cmp.Or(strings.Join(all, " "), "none")
	}
	return strings.Join(all[:few], " ") + " ..."
}

// checkStrangers tells of connections to reelay's own account that are neither the operator's nor a service's.
func (a *api) checkStrangers(ctx context.Context, own map[string]bool) []check {
	const about = "reelay's account"
	m, err := bounded(ctx, func(ctx context.Context) (*nats.Msg, error) {
		return a.nc.RequestWithContext(ctx, "$SYS.REQ.ACCOUNT.PING.CONNZ", []byte(`{"auth":true,"limit":10000}`))
	})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) {
		return []check{{levelWarn, about, "the server does not tell who is connected", "give it a system account"}}
	}
	var answer struct {
		Data struct {
			Connections []struct {
				User string `json:"authorized_user"`
				Name string `json:"name"`
			} `json:"connections"`
		} `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &answer)
	}
	if err != nil {
		return []check{{levelFail, about, err.Error(), ""}}
	}
	var checks []check
	for _, c := range answer.Data.Connections {
		if !own[c.User] {
			checks = append(checks, check{
				levelFail, about, fmt.Sprintf("%s (%s) is connected to it, and could write any record and event", cmp.Or(c.User, "somebody"), c.Name),
				"give it an account of its own: reelay auth add DIR PROJECT",
			})
		}
	}
	if len(checks) == 0 {
		return []check{{levelOK, about, fmt.Sprintf("%d connections, all of services and the operator", len(answer.Data.Connections)), ""}}
	}
	return checks
}
