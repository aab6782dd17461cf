package bucket

import (
	"encoding/json"

	"reelay/events"
)

const (
	// Quotas is the KV bucket of what projects may do: the keys <project> and AllProjects hold a Quota as JSON. What is
	// absent, or 0, is as AllProjects has it, and what that leaves open as DefaultQuota.
	Quotas = "reelay_quotas"
	// AllProjects is the key whose Quota counts for every project without one of its own.
	AllProjects = "_all"
	// QuotaBurst is for how many seconds a project may use its rates at once.
	QuotaBurst = 60
	// MaxQuota bounds each value.
	MaxQuota = 1_000_000_000
)

// A Quota bounds what one project may do, so that it takes nothing of what others need. Zero values leave things as
// they are by default.
type Quota struct {
	// Waiting is how many of its tasks may wait to be sent, those that wait for others included.
	Waiting int64 `json:"waiting,omitempty"`
	// RequestsPerSecond and BytesPerSecond bound what each submitter takes in in the long run. A project that was quiet
	// may send QuotaBurst seconds' worth at once, and one request of any size.
	RequestsPerSecond int64 `json:"requests_per_second,omitempty"`
	BytesPerSecond    int64 `json:"bytes_per_second,omitempty"`
	// Calls and Waits are the calls of the API that each service answers at once: those that wait for something are
	// apart.
	Calls int64 `json:"calls,omitempty"`
	Waits int64 `json:"waits,omitempty"`
	// Rejections is how many of its newest rejected events are kept, at least.
	Rejections int64 `json:"rejections,omitempty"`
	// By says who set it, for people.
	By string `json:"by,omitempty"`
}

// The names of what a Quota bounds: those of its fields in JSON, and the Field of an error with CodeOverLimit.
const (
	QuotaWaiting    = "waiting"
	QuotaRequests   = "requests_per_second"
	QuotaBytes      = "bytes_per_second"
	QuotaCalls      = "calls"
	QuotaWaits      = "waits"
	QuotaRejections = "rejections"
)

// DefaultQuota is what counts where nothing is set: more than a busy project needs, as a batch of events.MaxBatch requests
// of 2 KiB at once, and less than what stops others.
func DefaultQuota() Quota {
	return Quota{
		Waiting: 100_000, RequestsPerSecond: 2_000, BytesPerSecond: 8 << 20, Calls: 128, Waits: 2_000, Rejections: 10_000,
	}
}

// A QuotaValue is one bound of a Quota.
type QuotaValue struct {
	Name string
	N    *int64
}

// Values are the bounds of q with their names.
func (q *Quota) Values() []QuotaValue {
	return []QuotaValue{
		{QuotaWaiting, &q.Waiting},
		{QuotaRequests, &q.RequestsPerSecond},
		{QuotaBytes, &q.BytesPerSecond},
		{QuotaCalls, &q.Calls},
		{QuotaWaits, &q.Waits},
		{QuotaRejections, &q.Rejections},
	}
}

// Over returns q with what it leaves open as another has it.
func (q Quota) Over(other Quota) Quota {
	theirs := other.Values()
	for i, v := range q.Values() {
		if *v.N == 0 {
			*v.N = *theirs[i].N
		}
	}
	return q
}

// Validate fails with a FieldError that names a value which is no bound.
func (q Quota) Validate() error {
	for _, v := range q.Values() {
		if *v.N < 0 || *v.N > MaxQuota {
			return events.NewFieldError(v.Name, "%d is not between 1 and %d, nor 0 for the default", *v.N, MaxQuota)
		}
	}
	return nil
}

// DecodeQuota reads a value of Quotas. It fails where it is not what is stored there.
func DecodeQuota(value []byte) (Quota, error) {
	var q Quota
	if err := json.Unmarshal(value, &q); err != nil {
		return Quota{}, err
	}
	return q, q.Validate()
}
