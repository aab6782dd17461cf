package events

// A Batch is the tasks of one project that were asked for under one batch id. It answers batch, and is part of batch_done. A batch
// and a task may have the same id: their events then share all of the subject but its last token.
type Batch struct {
	Project string `json:"project"`
	ID      string `json:"batch_id"`
	// Announced is the largest batch_size of its requests; 0 while none has told one.
	Announced int `json:"announced"`
	// Total counts the tasks that were accepted, Ended those of them that have ended.
	Total int `json:"total"`
	Ended int `json:"ended"`
	// Rejected counts the task ids of rejected requests that no task of the batch has. They are in no other number.
	Rejected int `json:"rejected"`
	// ByStatus has a number for every status, 0 included.
	ByStatus map[Status]int `json:"by_status"`
	// CostUSD is what its attempts cost as far as is known.
	CostUSD float64 `json:"cost_usd"`
}

// Done reports whether as many tasks as were announced have ended or were never taken in.
func (b Batch) Done() bool { return b.Announced > 0 && b.Ended+b.Rejected >= b.Announced }
