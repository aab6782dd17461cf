// Package bucket is the part of reelay's contract that KV buckets hold beside the task records: the settings of lanes,
// caps on spending with their counters, quotas of projects, leases, what was learned of the providers, and how well callbacks arrive. It has
// every bucket with its keys and the types of its values.
//
// Clients read these buckets to see what is set. They change settings by the verbs of package operator; only reelay's own
// services write here.
package bucket
