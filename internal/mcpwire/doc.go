// Package mcpwire carries a server of the Model Context Protocol to its clients, with what the Go SDK leaves out. It knows
// nothing of what the server is for.
//
// What it promises:
//   - One HTTP endpoint, and stdio, serve clients of 2026-07-28 and of every older revision.
//   - A tool may answer a client that takes one with a task, in the form of the extension io.modelcontextprotocol/tasks
//     (SEP-2663) or in that of 2025-11-25. A client that does not take tasks never gets one.
//   - No request ends the process: what panics is answered with an error, and logged.
//   - A client that stops reading is given up after ten seconds, and holds back nobody else meanwhile. A silent stream
//     has a comment every 15 s.
//   - Requests and bodies have limits, and a refusal says when to come again. Of too many sessions that ends which was
//     silent for longest.
package mcpwire
