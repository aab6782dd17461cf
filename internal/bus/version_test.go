package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestCheckVersion(t *testing.T) {
	rows := []struct {
		version string
		old     bool
	}{
		{"2.15.0", false},
		{"2.15.2", false},
		{"v2.15.0", false},
		{"2.16.0-RC.1", false},
		{"2.100.0", false},
		{"3.0.0", false},
		{"2.15", false},
		{"2.14.9", true},
		{"2.9.25", true},
		{"1.99.0", true},
		{"0.15.0", true},
		{"", true},
		{"2", true},
		{"2.x.1", true},
		{"dev", true},
	}
	for _, row := range rows {
		if err := checkVersion(row.version); errors.Is(err, ErrOldServer) != row.old || !row.old && err != nil {
			t.Errorf("%q: %v, old %v", row.version, err, row.old)
		}
	}
}

// TestIsConflict holds the codes that a cluster gives and one server does not.
func TestIsConflict(t *testing.T) {
	rows := []struct {
		err  error
		want bool
	}{
		{&jetstream.APIError{Code: 400, ErrorCode: 10071}, true},
		{&jetstream.APIError{Code: 400, ErrorCode: 10164}, true},
		{fmt.Errorf("publish: %w", &jetstream.APIError{Code: 400, ErrorCode: 10164}), true},
		{&jetstream.APIError{Code: 400, ErrorCode: 10077}, false},
		{&jetstream.APIError{Code: 400, ErrorCode: 10060}, false},
		{&jetstream.APIError{Code: 503, ErrorCode: 10008}, false},
		{errors.New("wrong last sequence"), false},
		{nil, false},
	}
	for _, row := range rows {
		if got := isConflict(row.err); got != row.want {
			t.Errorf("%v: %v, want %v", row.err, got, row.want)
		}
	}
}

// TestRefusals holds what the refusal of a write that others have made, or have not, looks like.
func TestRefusals(t *testing.T) {
	rows := []struct {
		err           error
		stored, taken bool
	}{
		{&jetstream.APIError{Code: 400, ErrorCode: 10071}, true, false},
		{&jetstream.APIError{Code: 400, ErrorCode: 10164}, false, false},
		{&jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum messages per subject exceeded"}, false, true},
		{&jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "no space left on device"}, false, false},
		{&jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum messages exceeded"}, false, false},
		{errors.New("maximum messages per subject exceeded"), false, false},
		{nil, false, false},
	}
	for _, row := range rows {
		if got := isRefusedAsStored(row.err); got != row.stored {
			t.Errorf("%v: stored %v, want %v", row.err, got, row.stored)
		}
		if got := isOccupied(row.err); got != row.taken {
			t.Errorf("%v: taken %v, want %v", row.err, got, row.taken)
		}
	}
}
