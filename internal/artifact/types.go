package artifact

import (
	"path"

	"reelay/internal/media"
)

// ContentType returns the media type of a file by the ending of its name.
func ContentType(name string) string { return media.TypeOfExt(path.Ext(name)) }
