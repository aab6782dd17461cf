package mcpwire

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxCall is how long a call of a tool may take, with the person whom its client asks.
const maxCall = 20 * time.Minute

// Guard has a server answer what the SDK would not survive: handlers that panic, arguments that are null, and questions
// that nobody answers.
func Guard(server *sdk.Server, log *slog.Logger) {
	server.AddReceivingMiddleware(recovering(log), bounded, withoutNull)
}

// bounded ends a call after maxCall.
func bounded(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, r sdk.Request) (sdk.Result, error) {
		if _, ok := r.(*sdk.CallToolRequest); !ok {
			return next(ctx, method, r)
		}
		ctx, cancel := context.WithTimeout(ctx, maxCall)
		defer cancel()
		return next(ctx, method, r)
	}
}

// recovering answers a request whose handler has panicked with an internal error: the SDK would end the process.
func recovering(log *slog.Logger) sdk.Middleware {
	return func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, r sdk.Request) (result sdk.Result, err error) {
			defer func() {
				if p := recover(); p != nil {
					log.Error("a request made its handler panic", "method", method, "panic", p, "stack", string(debug.Stack()))
					result, err = nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "internal error"}
				}
			}()
			return next(ctx, method, r)
		}
	}
}

// withoutNull leaves out arguments that are null, as clients send them for a tool called with none: the SDK cannot fill
// in their defaults.
func withoutNull(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, r sdk.Request) (sdk.Result, error) {
		if call, ok := r.(*sdk.CallToolRequest); ok && call.Params != nil && string(call.Params.Arguments) == "null" {
			call.Params.Arguments = nil
		}
		return next(ctx, method, r)
	}
}

// Warnings is a logger for the SDK, which tells at debug level what it warns of: that is what clients do wrong, such as
// to go away without a word, and would be told with every change of what they had subscribed to.
func Warnings(log *slog.Logger) *slog.Logger { return slog.New(warningHandler{log.Handler()}) }

type warningHandler struct{ slog.Handler }

func (h warningHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h warningHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h warningHandler) WithAttrs(all []slog.Attr) slog.Handler {
	return warningHandler{h.Handler.WithAttrs(all)}
}

func (h warningHandler) WithGroup(name string) slog.Handler {
	return warningHandler{h.Handler.WithGroup(name)}
}
