package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// glossary lists words that only this code base once used for a thing that has a name in the field, and that name. They
// may not come back in names, of identifiers, files, metrics, flags, variables or subjects, nor in messages, help texts
// and the README.
var glossary = []struct {
	words string
	use   string
	// names says that sentences may use the word in its ordinary meaning, except limits that to paths.
	names  bool
	except string
}{
	{words: "look looks looked looker", use: "poll of a task, check of anything else"},
	{words: "glance glances glanced glancer sight sights", use: "batched poll"},
	{words: "hook hooks hooked", use: "callback for a provider's message, webhook for the service that receives it"},
	{words: "doorbell doorbells", use: "unsigned callback", names: true},
	{words: "edge edges", use: "webhook", except: "internal/test/model/"},
	{words: "crowd crowds crowded", use: "concurrency limit"},
	{words: "brake brakes tripped", use: "breaker, open"},
	{words: "mute muted mutes", use: "callbacks disabled until"},
	{words: "purse purses", use: "caps cache"},
	{words: "almanac almanacs", use: "learner"},
	{words: "atlas", use: "model"},
	{words: "prophet prophets", use: "predictor"},
	{words: "openness", use: "share rate"},
	{words: "foretell foretells foretold foreteller vista outlook", use: "estimate"},
	{words: "standing", use: "queue entry", names: true},
	{words: "teller tellers", use: "publisher; of an emulator: webhook sender"},
	{words: "courier couriers", use: "webhook sender"},
	{words: "saying sayings", use: "outcome", names: true},
	{words: "believe believes believed mistrusted", use: "trust"},
	{words: "bury buries buried burial", use: "dead-letter"},
	{words: "lay lays laid", use: "provision", names: true},
	{words: "insist insists", use: "retry"},
	{words: "twin twins", use: "duplicate in flight", names: true},
	{words: "fell fells felled", use: "node kill", names: true},
	{words: "blow blows", use: "fault", names: true},
	{words: "deck decks", use: "shuffle bag", names: true},
	{words: "torment torments campaign campaigns", use: "seeds, disruption"},
	{words: "freeze freezes froze frozen", use: "stall", names: true},
	{words: "bend bends", use: "mutation", names: true},
}

// A finder reports the words of the glossary, where they stand.
type finder struct {
	tb    testing.TB
	names map[string]int // the row of each word
}

func newFinder(tb testing.TB) finder {
	f := finder{tb, map[string]int{}}
	for i, row := range glossary {
		for word := range strings.FieldsSeq(row.words) {
			f.names[word] = i
		}
	}
	return f
}

// name checks the parts of a name, text the words of a sentence.
func (f finder) name(at, name string) { f.check(at, name, false) }
func (f finder) text(at, text string) { f.check(at, text, true) }

func (f finder) check(at, text string, sentence bool) {
	f.tb.Helper()
	for _, token := range nameTokens.FindAllString(text, -1) {
		parts := nameParts(token)
		for _, part := range parts {
			i, ok := f.names[part]
			if !ok {
				continue
			}
			row := glossary[i]
			if sentence && row.names && len(parts) == 1 || row.except != "" && strings.HasPrefix(at, row.except) {
				continue
			}
			f.tb.Errorf("%s: %q in %q: say %s", at, part, token, row.use)
		}
	}
}

var nameTokens = regexp.MustCompile(`[A-Za-z][A-Za-z0-9_]*`)

// nameParts splits a name at capitals, digits and underscores, in small letters.
func nameParts(name string) []string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			b.WriteByte(' ')
			continue
		case i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(b.String())
}

// TestGlossary: one word per thing, the field's where it has one.
func TestGlossary(t *testing.T) {
	f := newFinder(t)
	for _, name := range repositoryFiles(t) {
		if strings.HasPrefix(name, "internal/test/arch/") || strings.Contains(name, "testdata/") {
			continue
		}
		f.name(name, path.Base(name))
		switch {
		case path.Ext(name) == ".go":
			f.source(name)
		case path.Ext(name) == ".md", name == ".ci/run", name == "Procfile":
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				f.text(name+":"+strconv.Itoa(i+1), line)
			}
		}
	}
}

// source checks what a file declares and its literals.
func (f finder) source(name string) {
	f.tb.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, filepath.Join(root, name), nil, parser.SkipObjectResolution)
	if err != nil {
		f.tb.Fatal(err)
	}
	at := func(n ast.Node) string { return name + ":" + strconv.Itoa(files.Position(n.Pos()).Line) }
	for id := range declared(file) {
		f.name(at(id), id.Name)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			if n.Tag != nil {
				for _, value := range tagValues.FindAllStringSubmatch(n.Tag.Value, -1) {
					f.literal(at(n.Tag), value[1])
				}
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				if value, err := strconv.Unquote(n.Value); err == nil {
					f.literal(at(n), value)
				}
			}
		}
		return true
	})
}

var (
	// tagValues are the values in the tag of a field: names, flags and their help.
	tagValues = regexp.MustCompile(`[a-z]+:"((?:[^"\\]|\\.)*)"`)
	// nameLiteral is a literal that is a name and no sentence: of a metric, a flag, a variable, a subject, a step.
	nameLiteral = regexp.MustCompile(`^[-A-Za-z0-9_./*>@:+]+$`)
)

// literal checks a text as a name, or as a sentence if it is more than that.
func (f finder) literal(at, value string) {
	f.tb.Helper()
	f.check(at, value, !nameLiteral.MatchString(value))
}

// declared yields the identifiers that a file declares.
func declared(file *ast.File) func(yield func(*ast.Ident) bool) {
	return func(yield func(*ast.Ident) bool) {
		names := func(ids ...*ast.Ident) {
			for _, id := range ids {
				if id != nil && id.Name != "_" {
					yield(id)
				}
			}
		}
		names(file.Name)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names(n.Name)
			case *ast.TypeSpec:
				names(n.Name)
			case *ast.ValueSpec:
				names(n.Names...)
			case *ast.Field:
				names(n.Names...)
			case *ast.ImportSpec:
				names(n.Name)
			case *ast.LabeledStmt:
				names(n.Label)
			case *ast.AssignStmt:
				if n.Tok == token.DEFINE {
					for _, left := range n.Lhs {
						if id, ok := left.(*ast.Ident); ok {
							names(id)
						}
					}
				}
			case *ast.RangeStmt:
				if n.Tok == token.DEFINE {
					for _, left := range []ast.Expr{n.Key, n.Value} {
						if id, ok := left.(*ast.Ident); ok {
							names(id)
						}
					}
				}
			}
			return true
		})
	}
}
