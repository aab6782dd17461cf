package notifier

import (
	"testing"

	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }
