package mcpwire

import (
	"context"
	"errors"
	"io"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// ServeStdio serves the one client behind in and out until it hangs up or ctx ends, which are no errors.
func ServeStdio(ctx context.Context, server *sdk.Server, in io.ReadCloser, out io.WriteCloser) error {
	err := server.Run(ctx, taskTransport{&sdk.IOTransport{Reader: in, Writer: out, MaxLineLength: maxBody}})
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// A taskTransport is a transport whose messages keep their tasks.
type taskTransport struct{ sdk.Transport }

func (t taskTransport) Connect(ctx context.Context) (sdk.Connection, error) {
	c, err := t.Transport.Connect(ctx)
	return taskConnection{c}, err
}

type taskConnection struct{ sdk.Connection }

func (c taskConnection) Read(ctx context.Context) (jsonrpc.Message, error) {
	m, err := c.Connection.Read(ctx)
	if r, ok := m.(*jsonrpc.Request); ok && r.Method == "tools/call" {
		r.Params = keepTask(r.Params)
	}
	return m, err
}
