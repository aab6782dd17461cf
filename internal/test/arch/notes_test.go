package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
)

// searching are the packages whose functions compare or search what they are given.
var searching = []string{"strings", "bytes", "slices", "regexp"}

// TestNotesDoNotSteer: a note is for people. What code compares has a field with a type.
func TestNotesDoNotSteer(t *testing.T) {
	for _, p := range packages(t) {
		files := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				for _, part := range compared(n) {
					if note := noteIn(part); note != nil {
						t.Errorf("%s: a note is compared", files.Position(note.Pos()))
					}
				}
				return true
			})
		}
	}
}

// compared returns the expressions whose values decide what n does.
func compared(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if n.Op.Precedence() == token.EQL.Precedence() {
			return []ast.Expr{n.X, n.Y}
		}
	case *ast.SwitchStmt:
		if n.Tag != nil {
			return []ast.Expr{n.Tag}
		}
	case *ast.CaseClause:
		return n.List
	case *ast.IndexExpr:
		return []ast.Expr{n.Index}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.SelectorExpr); ok {
			if x, ok := f.X.(*ast.Ident); ok && slices.Contains(searching, x.Name) {
				return n.Args
			}
		}
	}
	return nil
}

// noteIn returns a use of a field Note in e, nil if there is none. What a closure does with one is seen when it is
// visited itself.
func noteIn(e ast.Expr) (note ast.Node) {
	ast.Inspect(e, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Note" {
			note = s
		}
		return note == nil
	})
	return note
}
