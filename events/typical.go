package events

// Typical is how long a provider takes for tasks of one type, learned from those that completed. Half take no longer.
type Typical struct {
	// Samples counts the tasks learned from.
	Samples int `json:"samples"`
	// WaitS is the time, in seconds, in the provider's queue, RunS the time from start to end; 0 where no task was seen start.
	WaitS float64 `json:"wait_s,omitempty"`
	RunS  float64 `json:"run_s,omitempty"`
	// WholeS is the time, in seconds, from submit to end; nine of ten take no longer than LateS.
	WholeS float64 `json:"whole_s"`
	LateS  float64 `json:"late_s"`
}
