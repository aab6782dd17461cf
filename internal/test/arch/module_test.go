package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const root = "../../.."

// A pkg is what the go command says of a package; tests are left out throughout.
type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// module lists the packages of this module, once.
var module = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(err, errors.New(stderr.String()))
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

func packages(tb testing.TB) []pkg {
	tb.Helper()
	all, err := module()
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// matches reports whether path is pattern or, for a pattern that ends in "/...", below it.
func matches(pattern, path string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(path, dir+"/")
	}
	return path == pattern
}

func anyMatches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// find returns the packages of this module that match. A rule about a package that is gone fails.
func find(tb testing.TB, patterns ...string) []pkg {
	tb.Helper()
	var found []pkg
	for _, pattern := range patterns {
		n := len(found)
		for _, p := range packages(tb) {
			if matches(pattern, p.ImportPath) {
				found = append(found, p)
			}
		}
		if len(found) == n {
			tb.Errorf("the rule speaks of %s, and there is no such package", pattern)
		}
	}
	return found
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != "reelay" && !strings.Contains(first, ".")
}

// uses returns which of the names of package target the files of p mention, as target.Name, and where.
func uses(tb testing.TB, p pkg, target string) map[string]token.Position {
	tb.Helper()
	found := map[string]token.Position{}
	if !slices.Contains(p.Imports, target) {
		return found
	}
	files := token.NewFileSet()
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			tb.Fatal(err)
		}
		local := ""
		for _, spec := range file.Imports {
			if imported, err := strconv.Unquote(spec.Path.Value); err == nil && imported == target {
				local = path.Base(target)
				if spec.Name != nil {
					local = spec.Name.Name
				}
			}
		}
		if local == "." {
			tb.Errorf("%s imports %s by a dot, which hides its uses", name, target)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && local != "" && x.Name == local {
					found[s.Sel.Name] = files.Position(s.Pos())
				}
			}
			return true
		})
	}
	return found
}

// repositoryFiles lists what is committed, or would be, by paths from the root.
func repositoryFiles(tb testing.TB) []string {
	tb.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		tb.Skipf("not a git checkout: %v", err)
	}
	names := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	if !slices.Contains(names, "go.mod") {
		tb.Fatalf("the list of files is not that of the module: %d files", len(names))
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := os.Lstat(filepath.Join(root, name))
		return errors.Is(err, fs.ErrNotExist) // removed, and not committed yet
	})
}
