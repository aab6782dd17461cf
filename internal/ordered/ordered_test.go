package ordered

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestScan: a scan of trees gives all that is in them from some value on, in order; Rank says how many are before.
func TestScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []int
		trees := make([]*Tree[int], rapid.IntRange(0, 6).Draw(t, "trees"))
		for i := range trees {
			trees[i] = New(cmp.Compare[int])
			for range rapid.IntRange(0, 200).Draw(t, "values") {
				v := rapid.IntRange(0, 1000).Draw(t, "value")*6 + i // no value in two trees
				if _, known := trees[i].Set(v); !known {
					all = append(all, v)
				}
			}
		}
		slices.Sort(all)
		from := rapid.IntRange(-1, 6100).Draw(t, "from")
		want := all[Rank(treeOf(all), func(v int) bool { return v < from }):]
		var got []int
		for s, more := NewScan(cmp.Compare[int], trees, &from), true; more; {
			var v int
			if v, more = s.Next(); more {
				got = append(got, v)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func treeOf(all []int) *Tree[int] {
	t := New(cmp.Compare[int])
	for _, v := range all {
		t.Set(v)
	}
	return t
}
