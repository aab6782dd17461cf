package main

import (
	"strings"

	"github.com/alecthomas/kong"
)

// examples are command lines for each command, which work as they stand, but for names of your own.
func examples() map[string][]string {
	return map[string][]string{
		"run": {
			`reelay run video --sandbox --prompt "a kite over dunes"`,
			`reelay run image --prompt "a kite" --output pictures --server nats://127.0.0.1:4222`,
		},
		"segment": {
			`reelay segment --voice-sample v.wav --text "There, a kite." --image first.png --prompt "a kite over dunes" --id one`,
			`reelay segment --voice-sample v.wav --text "It flies." --continue one --prompt "it flies" --id two`,
		},
		"concat": {`reelay concat one two --output films`},
		"up":     {`reelay up --sandbox`, `reelay up --store-dir /var/lib/reelay`},
		"submit": {
			`reelay submit video --prompt "a kite over dunes" --project demo --id kite-1`,
			`reelay submit video --jsonl requests.jsonl --project demo`,
		},
		"upload":           {`reelay upload frame.png --project demo`},
		"models":           {`reelay models`, `reelay models kling-v3`},
		"quote":            {`reelay quote video --prompt "a kite over dunes" --duration 10`},
		"watch":            {`reelay watch demo.kite-1`, `reelay watch --all --json`},
		"wait":             {`reelay wait demo.kite-1 --timeout 10m`},
		"ls":               {`reelay ls --project demo --status failed --since 2h`},
		"get":              {`reelay get demo.kite-1`, `reelay get demo.kite-1 --save .`},
		"open":             {`reelay open demo.kite-1`},
		"timeline":         {`reelay timeline demo.kite-1`},
		"queue":            {`reelay queue --project demo`},
		"top":              {`reelay top`},
		"cancel":           {`reelay cancel demo.kite-1 --reason "another prompt"`, `reelay cancel --batch night --project demo`},
		"resolve":          {`reelay resolve demo.kite-1 --adopt 764cabcf-b745-4b3e-ae38-1200304cf45b`, `reelay resolve demo.kite-1 --write-off`},
		"retry":            {`reelay retry demo.kite-1`, `reelay retry --batch night --failed --project demo`},
		"batch":            {`reelay batch demo.night`, `reelay batch demo.night --wait --save films`},
		"spend show":       {`reelay spend`, `reelay spend show --project demo --by day,model`},
		"spend cap":        {`reelay spend cap demo 20`, `reelay spend cap all off`},
		"quotas ls":        {`reelay quotas`},
		"quotas set":       {`reelay quotas set acme --waiting 500 --requests 10`},
		"artifacts ls":     {`reelay artifacts ls --project demo`},
		"artifacts verify": {`reelay artifacts verify`},
		"artifacts gc":     {`reelay artifacts gc --project demo`},
		"erase":            {`reelay erase demo.kite-1`, `reelay erase demo.kite-1 --outputs`},
		"dead ls":          {`reelay dead ls`},
		"dead show":        {`reelay dead show 17`},
		"dead replay":      {`reelay dead replay 17`},
		"notify ls":        {`reelay notify ls`},
		"notify replay":    {`reelay notify replay studio --since 48h`},
		"notify test":      {`reelay notify test studio`},
		"callbacks ls":     {`reelay callbacks ls`},
		"callbacks show":   {`reelay callbacks show 17`},
		"callbacks replay": {`reelay callbacks replay 17`},
		"lanes ls":         {`reelay lanes ls`},
		"lanes set":        {`reelay lanes set gpu1 --model wan --requests 300 --in-flight 30`},
		"lanes pause":      {`reelay lanes pause gpu1 --reason invoice`, `reelay lanes pause --all --reason "the budget is spent"`},
		"lanes resume":     {`reelay lanes resume gpu1`},
		"mcp":              {`reelay mcp --sandbox`},
		"backup":           {`reelay backup backups/monday`},
		"restore":          {`reelay restore --into .reelay/live/nats --replace backups/monday`},
		"bench run":        {`reelay bench`},
		"bench reads":      {`reelay bench reads`},
		"bench waiting":    {`reelay bench waiting`},
		"auth init":        {`reelay auth init auth --tenant acme --tenant press:read`},
		"auth add":         {`reelay auth add auth beta:resolve`},
		"auth revoke":      {`reelay auth revoke auth acme`},
		"doctor":           {`reelay doctor`, `reelay doctor --json`},
		"completion":       {`reelay completion bash`},
		"help":             {`reelay help subjects`, `reelay help lanes set`},
	}
}

// addExamples puts the examples into the help of the commands.
func addExamples(k *kong.Kong) error {
	all := examples()
	for _, leaf := range k.Model.Leaves(true) {
		if lines := all[commandPath(leaf)]; len(lines) > 0 {
			leaf.Detail = "For example:\n\n    " + strings.Join(lines, "\n    ")
		}
	}
	return nil
}

// commandPath is what a command is called by, without the program.
func commandPath(n *kong.Node) string {
	path := n.Name
	for n = n.Parent; n != nil && n.Type != kong.ApplicationNode; n = n.Parent {
		path = n.Name + " " + path
	}
	return path
}
