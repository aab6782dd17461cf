// Package media fetches the files that providers make, and says what they are: by their bytes, since a link may answer
// 200 with an error page, with half a file, or with a picture under the name of a video. It also reads how large and how
// long they are.
package media
