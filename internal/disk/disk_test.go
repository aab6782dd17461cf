package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestUnder(t *testing.T) {
	const gib = 1 << 30
	rows := []struct {
		name string
		disk Disk
		want bool
	}{
		{"plenty", Disk{50 * gib, 100 * gib}, false},
		{"little of a big disk", Disk{2 * gib, 1000 * gib}, false},
		{"little of a small disk", Disk{gib / 20, gib}, true},
		{"half of a tiny disk", Disk{24 << 20, 48 << 20}, false},
		{"just enough", Disk{gib, 100 * gib}, false},
		{"just too little", Disk{gib - 1, 100 * gib}, true},
		{"full", Disk{0, 100 * gib}, true},
	}
	for _, row := range rows {
		if got := row.disk.Under(10, gib); got != row.want {
			t.Errorf("%s, %v: %v, want %v", row.name, row.disk, got, row.want)
		}
	}
}

func TestSpaceAndProbe(t *testing.T) {
	dir := t.TempDir()
	disk, err := Space(dir)
	if !errors.Is(err, errors.ErrUnsupported) && (err != nil || disk.Total == 0 || disk.Free > disk.Total) {
		t.Errorf("%v, %v", disk, err)
	}
	if err := Probe(dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	gone := filepath.Join(dir, "gone")
	if err := Probe(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
	if _, err := Space(gone); !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v, want ErrNotExist", err)
	}
}
