package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// logLevels are the methods of a logger, with the place of the message among the arguments.
var logLevels = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1,
	"Log": 2, "LogAttrs": 2,
}

// messageArgument returns the message of a call of a logger. Loggers are known by their names, log or logger, or slog
// itself.
func messageArgument(call *ast.CallExpr) (level string, message ast.Expr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !isLogger(method.X) {
		return "", nil
	}
	i, ok := logLevels[method.Sel.Name]
	if !ok || i >= len(call.Args) {
		return "", nil
	}
	return strings.TrimSuffix(method.Sel.Name, "Context"), call.Args[i]
}

func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return slices.Contains([]string{"slog", "log", "logger"}, x.Name)
	case *ast.SelectorExpr:
		return slices.Contains([]string{"log", "Log", "logger"}, x.Sel.Name)
	case *ast.CallExpr: // log.With(...).Warn
		method, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (isLogger(method.X) || isLogger(method))
	}
	return false
}

// literalText returns the text of a literal, or of the literal that a sum begins with.
func literalText(x ast.Expr) (string, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, err == nil && x.Kind == token.STRING
	case *ast.BinaryExpr:
		return literalText(x.X)
	}
	return "", false
}

// TestLogMessages: an operator searches the log for what happened, so a warning or an error is a sentence, without a
// variable part.
func TestLogMessages(t *testing.T) {
	for _, name := range repositoryFiles(t) {
		if filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "internal/test/") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			level, argument := messageArgument(call)
			if _, passed := argument.(*ast.Ident); passed || level != "Warn" && level != "Error" {
				return true // passed: the words are a caller's
			}
			at := name + ":" + strconv.Itoa(files.Position(call.Pos()).Line)
			message, ok := literalText(argument)
			switch {
			case !ok:
				t.Errorf("%s: the message is no literal", at)
			case len(strings.Fields(message)) < 3:
				t.Errorf("%s: %q is no sentence: say what happened, in at least three words", at, message)
			case unicode.IsUpper([]rune(message)[0]) && !unicode.IsUpper([]rune(message)[1]) || strings.HasSuffix(message, "."):
				t.Errorf("%s: %q begins with a small letter and ends without a full stop", at, message)
			}
			return true
		})
	}
}
