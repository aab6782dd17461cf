package operator

import (
	"encoding/json"

	"reelay/events"
	"reelay/events/bucket"
)

// The verbs of quotas. quotas with a project only reads.
const (
	VerbQuotas    events.Verb = "quotas"     // [.<project>]: QuotasReply
	VerbQuotasSet events.Verb = "quotas-set" // a QuotaRequest in, a QuotaReply out
)

// QuotasReply answers quotas: what counts for a project, or, without one, what is set for each and for all others.
type QuotasReply struct {
	Quotas []ProjectQuota `json:"quotas"`
}

// A ProjectQuota is what a project may do. That of AllProjects counts for all that have none of their own.
type ProjectQuota struct {
	Project string `json:"project"`
	// Quota is in force, Set what of it is set for this very project, at Revision, which is 0 where nothing is.
	Quota    bucket.Quota `json:"quota"`
	Set      bucket.Quota `json:"set"`
	Revision uint64       `json:"revision"`
}

// A QuotaRequest replaces the quota of a project, or of AllProjects, as a whole.
type QuotaRequest struct {
	Project string `json:"project"`
	// Quota is what is set; an empty one leaves all as it is by default.
	Quota bucket.Quota `json:"quota"`
	// Revision is as in PauseRequest.
	Revision *uint64 `json:"revision,omitempty"`
}

// DecodeQuotaRequest reads and checks what quotas-set is asked. Its error is a FieldError.
func DecodeQuotaRequest(data []byte) (QuotaRequest, error) {
	var r QuotaRequest
	quota := map[string]any{"by": &r.Quota.By}
	for _, v := range r.Quota.Values() {
		quota[v.Name] = v.N
	}
	var raw json.RawMessage
	if err := events.DecodeStrict(data, "payload",
		map[string]any{"project": &r.Project, "quota": &raw, "revision": &r.Revision}); err != nil {
		return r, err
	}
	if !events.ValidToken(r.Project) {
		return r, events.NewFieldError("project", "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", r.Project,
			events.MaxTokenBytes)
	}
	if raw == nil {
		return r, events.NewFieldError("quota", "is missing; {} leaves all as it is by default")
	}
	if err := events.DecodeStrict(raw, "quota", quota); err != nil {
		return r, err
	}
	if err := r.Quota.Validate(); err != nil {
		return r, err
	}
	return r, validWords("", r.Quota.By)
}

// A QuotaReply answers quotas-set.
type QuotaReply = ProjectQuota
