package bucket

import "time"

const (
	// Uploads is the KV bucket of the files that providers have been given for requests, under an UploadKey each. Losing it
	// costs another upload, which is free.
	Uploads = "reelay_uploads"
	// UploadAge is how long one is kept. Its value says when the provider forgets it, which may be sooner.
	UploadAge = 7 * 24 * time.Hour
)

// UploadKey is the key in Uploads of a file by its SHA-256 in hex, given to the account of a lane for a purpose.
func UploadKey(lane, purpose, sha256 string) string { return lane + "." + purpose + "." + sha256 }
