// Package artifact keeps files by the SHA-256 of their bytes, in whatever store a URL names: a directory, the object
// store of NATS, and by package artifact/cloud S3 and Azure.
//
// A file is put once and never changed. Its name says whose it is and what it holds: <project>/<sha256><ending>. Nothing
// is visible under a name until all of its bytes are there and have that sum, so a put that is cut off leaves nothing,
// and a put that is repeated changes nothing. Content is streamed: no driver holds a file in memory.
package artifact
