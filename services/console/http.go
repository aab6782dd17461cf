package console

import (
	"context"
	"embed"
	"net/http"
	"net/url"
	"strings"
	"time"

	"reelay/internal/address"
)

//go:embed static
var static embed.FS

// policy lets a page load nothing but what the console itself serves, and send forms nowhere else.
const policy = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

// formWait bounds the time in which a form is sent.
const formWait = 30 * time.Second

// cookieName is that of the session.
const cookieName = "reelay_console"

// handler serves everything. Whoever has not signed in sees the page for that.
func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, p := range s.pages() {
		mux.Handle("GET "+pattern, s.signedIn(s.page(p)))
	}
	for pattern, do := range s.actions() {
		mux.Handle("POST "+pattern, s.signedIn(s.acting(do)))
	}
	mux.Handle("GET /find", s.signedIn(http.HandlerFunc(s.find)))
	mux.Handle("GET /tasks/{project}/{task}/outputs/{output}", s.signedIn(http.HandlerFunc(s.output)))
	mux.Handle("GET /static/", cached(http.FileServerFS(static)))
	mux.HandleFunc("GET /login", s.loginForm)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.Handle("/", s.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusNotFound, "There is no such page.")
	})))
	return secured(http.NewCrossOriginProtection().Handler(s.named(mux)))
}

// secured adds the headers that every answer has.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		if r.Method == http.MethodPost {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formWait))
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		h.ServeHTTP(w, r)
	})
}

func cached(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}

// named refuses, where nobody has to sign in, requests that do not name the console by a loopback address: a page of a
// stranger may have a name of its own lead there.
func (s *Service) named(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.o.Users == nil && !address.IsLocal(r.Host) {
			http.Error(w, "Open the console as http://"+s.o.Listener.Addr().String()+", or have people sign in: "+
				"--console-users.", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

type userKey struct{}

// signedIn lets only users in.
func (s *Service) signedIn(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.user(r)
		switch {
		case ok:
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
		case r.Method != http.MethodGet || r.FormValue("live") != "":
			http.Error(w, "Sign in first.", http.StatusUnauthorized)
		default:
			http.Redirect(w, r, "/login?"+url.Values{"to": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		}
	})
}

// user returns who sends a request.
func (s *Service) user(r *http.Request) (User, bool) {
	if s.o.Users == nil {
		return local(), true
	}
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return User{}, false
	}
	return s.o.Users.withSession(cookie.Value, time.Now())
}

// userOf returns the user that signedIn has let in.
func userOf(r *http.Request) User {
	u, _ := r.Context().Value(userKey{}).(User)
	return u
}

type loginData struct {
	To    string
	Wrong bool
}

func (s *Service) loginForm(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.user(r); ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "login", view{Title: "Sign in", Data: loginData{To: own(r.FormValue("to"))}})
}

func (s *Service) login(w http.ResponseWriter, r *http.Request) {
	u, ok := s.o.Users.withToken(r.PostFormValue("token"))
	if !ok {
		s.o.Log.Warn("somebody could not sign in to the console", "from", r.RemoteAddr)
		s.render(w, r, http.StatusUnauthorized, "login",
			view{Title: "Sign in", Data: loginData{To: own(r.PostFormValue("to")), Wrong: true}})
		return
	}
	s.setCookie(w, r, u.session(time.Now()), int(sessionAge/time.Second))
	http.Redirect(w, r, own(r.PostFormValue("to")), http.StatusSeeOther)
}

func (s *Service) logout(w http.ResponseWriter, r *http.Request) {
	s.setCookie(w, r, "", -1)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (s *Service) setCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// own returns a path of the console, or "/" for what would lead anywhere else.
func own(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") ||
		strings.HasPrefix(u.Path, "//") || strings.Contains(to, `\`) {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}

// noRedirect ends a request at its first answer.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
