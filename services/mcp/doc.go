// Package mcp offers reelay to agents by the Model Context Protocol: an agent can make, follow and keep media, ask again
// without paying twice, and never loses a task to a timeout of its client.
//
// It is a thin client of the contract and keeps nothing: a task is its record, and its handle the task's id, so that
// any replica answers and a restart loses nothing but open streams. One HTTP endpoint and stdio serve clients of
// 2026-07-28 and of every older revision.
//
// What it promises to an agent:
//   - A tool that makes something waits for it at most 50 s, and then tells the task's id and when to ask again. A
//     client that goes away ends the waiting, never the task.
//   - The same wish again is the same task, paid once: by request_id, by the client's own id of the call
//     (claudecode/toolUseId), else by session and arguments for five minutes.
//   - What costs more than an operator allows without asking is made once a person has approved the cost. An approval is
//     good for one task of one principal, made of the very arguments that were asked about.
//   - A principal sees the projects that its token names. A task of another project is as unknown as one that does not
//     exist; the id of a task gives nobody a right to it.
package mcp
