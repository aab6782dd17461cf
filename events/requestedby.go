package events

import (
	"encoding/json"
	"strings"
)

// HeaderRequestInfo is the header in which a NATS server says who has sent a message that comes from another account by
// a service import. It takes the place of whatever the sender has put there. Within one account a server says nothing,
// and whoever may publish there can write anything.
const HeaderRequestInfo = "Nats-Request-Info"

// HeaderRequestedBy has the RequestedBy of a request or command that the status service hands on, on a subject of its own
// (ByAPISubject) on which no tenant can publish. JetStream keeps no HeaderRequestInfo.
const HeaderRequestedBy = "Reelay-Requested-By"

// byAPI is the last token of that subject.
const byAPI = ".api"

// ByAPISubject is where the status service publishes a request or a command for somebody whom the server has told of.
func ByAPISubject(subject string) string { return subject + byAPI }

// IsByAPI reports whether a subject is one of these.
func IsByAPI(subject string) bool { return strings.HasSuffix(subject, byAPI) }

// Unverified is the Transition.RequestedBy of what somebody has asked for of whom the server tells nothing.
const Unverified = "unverified"

// maxRequestedBy bounds an account and a user.
const maxRequestedBy = 256

// RequestedBy returns "<account> <user>" of what a server says in HeaderRequestInfo, the account alone where its import
// does not share the user; empty where it tells of no account.
func RequestedBy(info string) string {
	var who struct {
		Account string `json:"acc"`
		User    string `json:"user"`
	}
	if err := json.Unmarshal([]byte(info), &who); err != nil || who.Account == "" {
		return ""
	}
	return strings.TrimSpace(plain(who.Account+" "+who.User, maxRequestedBy))
}
