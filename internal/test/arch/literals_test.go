package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestWireNames: the names of subjects and keys are built in package events alone, so that the contract is read and
// changed in one place.
func TestWireNames(t *testing.T) {
	notOnTheWire := map[string]bool{"reelay.lock": true} // the lock file of the embedded broker
	for _, p := range packages(t) {
		if p.ImportPath == eventsPkg || p.ImportPath == tracePkg { // the attributes of spans are no subjects
			continue
		}
		files := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				wire := strings.HasPrefix(text, "reelay.") || strings.HasPrefix(text, "$KV.reelay")
				if wire && !notOnTheWire[text] {
					t.Errorf("%s: %q is a name on the wire, and those are built in %s", files.Position(lit.Pos()), text, eventsPkg)
				}
				return true
			})
		}
	}
}
