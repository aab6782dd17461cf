package mcp

import (
	"context"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/auth"
)

const (
	// path is where the endpoint is.
	path = "/mcp"
	// maxConns bounds the connections of everybody; further ones wait.
	maxConns = 10_000
)

// An endpoint is a principal's side of the service, and what serves it by HTTP.
type endpoint struct {
	*bridge
	http.Handler
}

// handler serves every principal at path.
func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(path, s.authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.endpoint(r.Context()).ServeHTTP(w, r)
	})))
	return mux
}

// authenticated asks for a bearer token, if there are tokens at all.
func (s *Service) authenticated(h http.Handler) http.Handler {
	if s.o.Tokens == nil {
		return h
	}
	return auth.RequireBearerToken(func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		p, ok := s.o.Tokens.Find(token)
		if !ok {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{UserID: p.Name}, nil
	}, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(h)
}

// endpoint is that of the request's principal.
func (s *Service) endpoint(ctx context.Context) endpoint {
	name := s.o.Local.Name
	if token := auth.TokenInfoFromContext(ctx); token != nil {
		name = token.UserID
	}
	return s.endpoints[name]
}
