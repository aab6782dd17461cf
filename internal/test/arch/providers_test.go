package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"reelay/internal/provider/registry"
)

// folder is what the packages of a provider are called: its name, up to the first hyphen.
func folder(name string) string {
	name, _, _ = strings.Cut(name, "-")
	return name
}

// providerPlaces is where a provider is named: adding one touches these and no other. Of a folder, all files may name
// it.
func providerPlaces(p registry.Provider) []string {
	places := []string{
		"internal/provider/" + folder(p.Name) + "/",
		"internal/emulator/" + folder(p.Name) + "/",
		"internal/provider/registry/registry.go",
		"internal/lanes/open.go",
		"internal/emulator/all/all.go",
		"README.md",
	}
	if p.Name != graphs {
		places = append(places, "internal/want/wants.json")
	}
	if p.SelfHosted {
		return places
	}
	return append(places, "internal/spend/price/prices.json")
}

// graphs is the provider whose input is a graph: no wish has a place that all graphs have.
const graphs = "comfy"

// knobs is what single providers have for tests by hand, and a new one need not.
const knobs = "internal/emulator/all/settings.go"

// TestProviderPlaces: the code of the product names a provider nowhere but in its places, and in all of them.
func TestProviderPlaces(t *testing.T) {
	for _, of := range registry.All() {
		name := of.Name
		for _, place := range providerPlaces(of) {
			if strings.HasSuffix(place, "/") {
				find(t, "reelay/"+strings.TrimSuffix(place, "/"))
			} else if text, err := os.ReadFile(filepath.Join(root, place)); err != nil || !bytes.Contains(text, []byte(name)) {
				t.Errorf("%s does not name %s: %v", place, name, err)
			}
		}
	}
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, "reelay/internal/test/") {
			continue
		}
		for _, file := range p.GoFiles {
			path := strings.TrimPrefix(p.ImportPath, "reelay/") + "/" + file
			// A word of one provider's may be another's name. That none knows another is for TestImports.
			if slices.Contains(drivers, p.ImportPath) || slices.Contains(emulated, p.ImportPath) {
				continue
			}
			for _, of := range registry.All() {
				name := folder(of.Name)
				named := func(place string) bool {
					return path == place || strings.HasSuffix(place, "/") && strings.HasPrefix(path, place)
				}
				if path == knobs || slices.ContainsFunc(providerPlaces(of), named) {
					continue
				}
				for _, at := range namings(t, filepath.Join(p.Dir, file), name) {
					t.Errorf("%s:%d names %s: ask the registry, see its package comment", path, at.Line, name)
				}
			}
		}
	}
}

// namings returns where identifiers, strings or imports of a file have that word. Comments may say what they like.
func namings(tb testing.TB, path, word string) (all []token.Position) {
	tb.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		tb.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		text := ""
		switch n := n.(type) {
		case *ast.Ident:
			text = n.Name
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				text = n.Value
			}
		}
		if slices.Contains(words(text), word) {
			all = append(all, files.Position(n.Pos()))
		}
		return true
	})
	return all
}

// words returns the words of a text or of a name such as falKey, in lower case.
func words(text string) []string {
	var b strings.Builder
	lower := false
	for _, r := range text {
		if lower && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.FieldsFunc(b.String(), func(r rune) bool { return !unicode.IsLetter(r) })
}
