package emulator

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Misbehave answers in the way that a fault of a script names: "reset", "hang", "empty", "308", an HTTP status, for which
// refuse answers in the provider's own envelope, or "<status>_html", the page of a web server before it. What is no status
// is 500.
func Misbehave(w http.ResponseWriter, r *http.Request, fault string, refuse func(w http.ResponseWriter, status int)) {
	switch fault {
	case "reset":
		panic(http.ErrAbortHandler)
	case "hang":
		<-r.Context().Done()
		return
	case "empty":
		w.WriteHeader(http.StatusOK)
		return
	case "308":
		http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusPermanentRedirect)
		return
	}
	code, html := strings.CutSuffix(fault, "_html")
	status, err := strconv.Atoi(code)
	if err != nil || status < 200 || status > 599 {
		status = http.StatusInternalServerError
	}
	if html {
		Page(w, status)
		return
	}
	refuse(w, status)
}

// Page answers as a web server before a provider does.
func Page(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<html><body><h1>"+http.StatusText(status)+"</h1></body></html>") // the client has gone
}

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
