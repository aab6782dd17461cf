package natsd

import (
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
)

// registerTraffic registers what the broker and its clients have sent each other, answers included. A restart begins
// anew.
func (s *Server) registerTraffic(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	for _, c := range []struct {
		name, help string
		of         func(*server.Varz) int64
	}{
		{"received_messages", "Messages from clients", func(v *server.Varz) int64 { return v.InMsgs }},
		{"received_bytes", "Bytes of messages from clients", func(v *server.Varz) int64 { return v.InBytes }},
		{"sent_messages", "Messages to clients", func(v *server.Varz) int64 { return v.OutMsgs }},
		{"sent_bytes", "Bytes of messages to clients", func(v *server.Varz) int64 { return v.OutBytes }},
	} {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "reelay_broker_" + c.name + "_total", Help: c.help + " of the embedded broker.",
		}, func() float64 {
			v, err := s.current.Load().Varz(nil)
			if err != nil {
				return 0
			}
			return float64(c.of(v))
		}))
	}
}
