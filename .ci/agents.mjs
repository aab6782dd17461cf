// Has agents that are not ours make videos in the sandbox: TypeScript's SDK v1, v2 in both eras, and the Inspector, each
// over HTTP and over stdio. Each submits (a person approves the cost), hears progress and changes, reads and fetches the
// result, cancels another, and is killed in the middle of a call, whose retry may pay nothing more. Then the manual's three
// configurations are used as they stand there, but for the port.
// Usage: node agents.mjs <reelay binary> <agents.md of the manual> <directory with the npm packages> <scratch directory>
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const [reelay, manual, modules, scratch, killed] = process.argv.slice(2);
const pkg = (name) => path.join(path.resolve(modules), "node_modules/@modelcontextprotocol", name);
// All is loaded before anything is sent: a request whose process is busy in between has lost its connection.
const [v1, v1Types, v1Http, v1Stdio, v2, v2Stdio] = await Promise.all([
  "sdk/dist/esm/client/index.js", "sdk/dist/esm/types.js", "sdk/dist/esm/client/streamableHttp.js",
  "sdk/dist/esm/client/stdio.js", "client/dist/index.mjs", "client/dist/stdio.mjs",
].map((name) => import(pathToFileURL(pkg(name)))));

// What all clients are used by: connect returns one that calls a tool, subscribes, reads, and closes.
const client = { name: "ci", version: "1" };
const text = (r) => JSON.parse(r.contents[0].text);
const checked = (r) => {
  assert.ok(!r.isError, JSON.stringify(r.content));
  return r.structuredContent;
};
const approve = async () => ({ action: "accept", content: { approve: true } });

async function connectV1(transport, { url, env, command, args }, updated, asked) {
  const c = new v1.Client(client, { capabilities: { elicitation: {} } });
  c.setRequestHandler(v1Types.ElicitRequestSchema, (r) => (asked(r), approve()));
  c.setNotificationHandler(v1Types.ResourceUpdatedNotificationSchema, (n) => updated(n.params.uri));
  await c.connect(transport === "http" ? new v1Http.StreamableHTTPClientTransport(new URL(url)) :
    new v1Stdio.StdioClientTransport({ command, args, env, stderr: "ignore" }));
  return {
    tools: async () => (await c.listTools()).tools,
    call: async (name, args, onprogress) => checked(await c.callTool({ name, arguments: args }, undefined, { onprogress })),
    subscribe: (uri) => c.subscribeResource({ uri }),
    read: async (uri) => text(await c.readResource({ uri })),
    close: () => c.close(),
  };
}

const connectV2 = (mode) => async (transport, { url, env, command, args }, updated, asked) => {
  const c = new v2.Client(client, { capabilities: { elicitation: {} }, versionNegotiation: { mode } });
  c.setRequestHandler("elicitation/create", (r) => (asked(r), approve()));
  c.setNotificationHandler("notifications/resources/updated", (n) => updated(n.params.uri));
  await c.connect(transport === "http" ? new v2.StreamableHTTPClientTransport(new URL(url)) :
    new v2Stdio.StdioClientTransport({ command, args, env, stderr: "ignore" }));
  return {
    tools: async () => (await c.listTools()).tools,
    call: async (name, args, onprogress) => checked(await c.callTool({ name, arguments: args }, { onprogress })),
    subscribe: (uri) => mode === "legacy" ? c.subscribeResource({ uri }) : c.listen({ resourceSubscriptions: [uri] }),
    read: async (uri) => text(await c.readResource({ uri })),
    close: () => c.close(),
  };
};

const clients = { v1: connectV1, "v2-2025": connectV2("legacy"), "v2-2026": connectV2({ pin: "2026-07-28" }) };

// The Inspector's command line connects anew for each call, and neither subscribes nor is asked.
const inspector = (era) => async (transport, { url, env, command, args }) => {
  const target = transport === "http" ? [url, "--transport", "http"] :
    ["-e", `NATS_URL=${env.NATS_URL}`, "--", command, ...args];
  const ask = async (...more) => {
    const { stdout } = await run(process.execPath, [pkg("inspector/clients/launcher/build/index.js"), "--cli", "--format", "json",
      "--quiet", "--protocol-era", era, ...more, ...target], { env: { ...process.env, HOME: scratch }, maxBuffer: 1 << 26 });
    const { result, ...rest } = JSON.parse(stdout);
    return result ?? rest;
  };
  return {
    tools: async () => (await ask("--method", "tools/list", "--strict")).tools,
    call: async (name, args) => checked(await ask("--method", "tools/call", "--tool-name", name, "--tool-args-json", JSON.stringify(args))),
    read: async (uri) => text(await ask("--method", "resources/read", "--uri", uri)),
    close: () => {},
  };
};

// In a process that is going to be killed: calls a tool, which takes long.
if (killed) {
  const [name, transport, server, args] = JSON.parse(killed);
  const c = await clients[name](transport, server, () => {}, () => {});
  await c.call("generate_video", args);
  process.exit(1); // it was to be killed before
}

const listen = ["listen", "webhook-listen", "mcp-listen", "archiver-listen", "console-listen", "ops-listen"];
const stack = spawn(reelay, ["up", "--sandbox", "--store-dir", path.join(scratch, "agents"),
  ...listen.flatMap((name) => [`--${name}`, "127.0.0.1:0"])], { stdio: ["ignore", "pipe", "ignore"] });
const [nats, url] = await new Promise((resolve, reject) => {
  let said = "";
  stack.stdout.on("data", (text) => {
    said += text;
    const found = [/up at (nats:\S+)/, /agents +(http:\S+)/].map((r) => r.exec(said)?.[1]);
    if (found.every(Boolean)) resolve(found);
  });
  stack.on("exit", (code) => reject(new Error(`reelay up ended with ${code}`)));
});
const server = { url, command: path.resolve(reelay), args: ["mcp"], env: { ...process.env, NATS_URL: nats } };
const project = (name, transport) => `${name}-${transport}`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// paid is how many paid requests a project has made.
async function paid(project_id) {
  const { stdout } = await run(reelay, ["spend", "show", "--json", "--project", project_id], { env: server.env });
  return JSON.parse(stdout).total.attempts;
}

async function generate(name, transport, connect) {
  const project_id = project(name, transport);
  const heard = { updates: new Set(), asked: 0 };
  const c = await connect(transport, server, (uri) => heard.updates.add(uri), () => heard.asked++);
  const tools = await c.tools();
  assert.ok(tools.length > 10);
  const wish = (request_id, emulate, more) => ({
    prompt: `a kite by ${project_id}`, request_id, project_id, wait_seconds: 0, options: { emulate }, ...more,
  });

  // Submit: ten seconds cost more than an agent may spend by itself.
  let last = 0;
  const grows = ({ progress }) => {
    assert.ok(progress > last, `progress went from ${last} to ${progress}`);
    last = progress;
  };
  const dear = wish("kite", { run_ms: 2000 }, { duration: 10, wait_seconds: 50 });
  if (!c.subscribe) dear.confirm_cost_usd = 1.68;
  const { task_id, status } = await c.call("generate_video", dear, grows);
  assert.equal(status, "completed");
  if (c.subscribe) {
    assert.equal(heard.asked, 1);
    assert.ok(last > 0, "no progress was heard");
  }
  const { task } = await c.read(`queue://task/${task_id}`);
  assert.equal(task.outputs.length, 1);
  const file = await c.call("retrieve_video_file", { file_id: `${task_id}/1` });
  const { ok, headers } = await fetch(file.url);
  assert.ok(ok && headers.get("content-type").startsWith("video/"));

  // Cancel, which a subscriber hears.
  const slow = await c.call("generate_video", wish("slow", { run_ms: 600_000 }));
  assert.notEqual(slow.status, "completed");
  const uri = `queue://task/${slow.task_id}`;
  await c.subscribe?.(uri);
  await c.call("cancel_task", { task_id: slow.task_id });
  assert.equal((await c.call("get_task", { task_id: slow.task_id, wait_seconds: 50 })).status, "cancelled");
  for (let n = 0; c.subscribe && !heard.updates.has(uri); n++) {
    assert.ok(n < 100, "no change was heard");
    await pause(100);
  }
  const jobs = await paid(project_id);
  assert.ok(jobs === 1 || jobs === 2, `${jobs} jobs were paid`); // the second, if its cancel came after it was sent

  // Killed in the middle of a call.
  if (c.subscribe) {
    const again = wish("killed", { run_ms: 12_000 }, { wait_seconds: 50 });
    const child = spawn(process.execPath, [...process.argv.slice(1, 6), JSON.stringify([name, transport, server, again])],
      { stdio: ["ignore", "ignore", "inherit"] });
    const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(signal)));
    for (let n = 0; await paid(project_id) === jobs; n++) {
      assert.ok(n < 100, "the call was not made");
      await pause(100);
    }
    child.kill("SIGKILL");
    assert.equal(await ended, "SIGKILL");
    assert.equal((await c.call("generate_video", again)).status, "completed");
    assert.equal(await paid(project_id), jobs + 1);
  }
  await c.close();
  console.log(`${project_id}: done after ${Math.round(performance.now() / 1000)} s`);
}

// The manual's configurations, each used as it stands there.
async function configurations() {
  const said = readFileSync(manual, "utf8");
  const [, there] = /claude mcp add --transport http reelay (\S+)/.exec(said);
  assert.ok(there.endsWith("/mcp") && url.endsWith("/mcp"));
  const [, asked] = /npx @modelcontextprotocol\/inspector@\S+ (.*)/.exec(said);
  const { stdout } = await run(process.execPath, [pkg("inspector/clients/launcher/build/index.js"),
    ...asked.replace(there, url).split(" ")], { env: { ...process.env, HOME: scratch } });
  assert.ok(stdout.includes("generate_video"));
  const { command, args } = JSON.parse(/^\{"mcpServers".*$/m.exec(said)[0]).mcpServers.reelay;
  assert.equal(command, "reelay");
  const c = await clients.v1("stdio", { ...server, args }, () => {}, () => {});
  assert.equal((await c.call("generate_video", { prompt: "a kite", wait_seconds: 50 })).status, "completed");
  await c.close();
  console.log("the manual's configurations: done");
}

try {
  const all = [configurations()];
  for (const [transport, era] of [["http", "modern"], ["stdio", "legacy"]]) {
    for (const [name, connect] of Object.entries(clients)) all.push(generate(name, transport, connect));
    all.push(generate(`inspector-${era}`, transport, inspector(era)));
  }
  for (const { status, reason } of await Promise.allSettled(all)) {
    if (status === "fulfilled") continue;
    console.log(reason);
    process.exitCode = 1;
  }
} finally {
  const ended = new Promise((resolve) => stack.removeAllListeners("exit").on("exit", resolve));
  stack.kill("SIGINT");
  await ended;
}
process.exit(); // whatever a client that has failed keeps open
