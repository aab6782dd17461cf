// Package ops holds an operator's ordinary acts on the broker under a running pipeline: streams, buckets and consumers
// that are removed, purged, paused or given other settings, backups and copies that are put back. After each act every
// task ends that still has its record, nothing is paid twice, and a loss is told. It is for tests only.
package ops
