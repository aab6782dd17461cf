package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const (
	// maxPackageLines bounds a package without its tests; the command is the exception, it has one file a verb.
	maxPackageLines = 3000
	exemptPackage   = "reelay/cmd/reelay"
	// maxContractLines bounds the contract, which is half documentation and is looked up rather than read through.
	maxContractLines = 4500
	// maxFunctionLines bounds every function, maxUsualLines all but the longest one in a hundred.
	maxFunctionLines, maxUsualLines = 94, 54
)

// TestSizes: a package can be read in a morning, a function on one screen or two.
func TestSizes(t *testing.T) {
	var lengths []int
	for _, p := range packages(t) {
		lines := 0
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(text, []byte("\n"))
			for function, n := range functionLengths(t, name, text) {
				lengths = append(lengths, n)
				if n > maxFunctionLines {
					t.Errorf("%s: %s has %d lines, at most %d are allowed", p.ImportPath, function, n, maxFunctionLines)
				}
			}
		}
		limit := maxPackageLines
		if p.ImportPath == eventsPkg {
			limit = maxContractLines
		}
		if lines > limit && p.ImportPath != exemptPackage {
			t.Errorf("%s has %d lines, at most %d are allowed", p.ImportPath, lines, limit)
		}
	}
	slices.Sort(lengths)
	if p99 := lengths[len(lengths)*99/100]; p99 > maxUsualLines {
		t.Errorf("one function in a hundred has more than %d lines, want at most %d", p99, maxUsualLines)
	}
}

// functionLengths counts the lines of each function of a file, signature and braces included.
func functionLengths(tb testing.TB, name string, text []byte) map[string]int {
	tb.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
	if err != nil {
		tb.Fatal(err)
	}
	lengths := map[string]int{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			first, last := files.Position(f.Pos()).Line, files.Position(f.End()).Line
			lengths[fmt.Sprintf("%s in %s:%d", f.Name.Name, name, first)] = last - first + 1
		}
	}
	return lengths
}
