package fal

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const nginxPage = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad " +
	"Gateway</h1></center>\r\n" +
	"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"

// misbehave answers in one of the ways that say nothing: "reset", "hang", "empty", "<code>_html", "<code>".
func misbehave(w http.ResponseWriter, r *http.Request, how string) {
	code, html := strings.CutSuffix(how, "_html")
	status, err := strconv.Atoi(code)
	switch {
	case how == "hang":
		<-r.Context().Done()
		hangUp(w)
	case how == "empty":
		w.WriteHeader(http.StatusOK)
	case err != nil || status < 200 || status > 599:
		hangUp(w)
	case html:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(nginxPage))
	default:
		detail(w, status, http.StatusText(status))
	}
}

// refuseSubmit answers a submit that is not accepted: as refuse does, as a gateway before fal does ("<code>_html"), or
// by sending it elsewhere ("308"). It returns the HTTP status.
func refuseSubmit(w http.ResponseWriter, r *http.Request, how string) int {
	if how == "308" {
		http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusPermanentRedirect)
		return http.StatusPermanentRedirect
	}
	if code, page := strings.CutSuffix(how, "_html"); page {
		misbehave(w, r, how)
		status, _ := strconv.Atoi(code) // 0 where nothing was answered
		return status
	}
	return refuse(w, how)
}

// refuse answers a submit, or a poll, with that HTTP status in fal's own envelope, and returns it.
func refuse(w http.ResponseWriter, code string) int {
	status, err := strconv.Atoi(code)
	if err != nil || status < 400 || status > 599 {
		status = http.StatusBadRequest
	}
	id := newID(time.Now())
	switch status {
	case http.StatusUnauthorized:
		detail(w, status, "invalid key credentials")
	case http.StatusForbidden:
		detail(w, status, "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.")
	case http.StatusNotFound:
		detail(w, status, `Application "emulated" not found`)
	case http.StatusUnprocessableEntity:
		modelError(w, id, failure{status: status, errorType: "missing", message: "field required"}, "0")
	case http.StatusTooManyRequests:
		detail(w, status, "Too many requests: the queue of this endpoint is full")
	case http.StatusBadRequest:
		platformError(w, id, failure{status: status, errorType: "bad_request", message: "Bad request"})
	default:
		detail(w, status, http.StatusText(status))
	}
	return status
}

// hangUp breaks the connection without an answer.
func hangUp(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}
