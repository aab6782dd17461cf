// Has the clients of others use our emulators, so that what the drivers are tested against is what those clients know:
// OpenAI's own for its video API, images and speech, once for each kind of server whose creates it can make, and
// Replicate's own.
// Usage: node clients.mjs <emulator binary> <directory with the npm packages> <scratch directory>
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [binary, modules, scratch] = process.argv.slice(2);
const require = createRequire(path.resolve(modules) + "/");
const { OpenAI, toFile } = require("openai");
const Replicate = require("replicate");

const freePort = () => new Promise((done) => {
  const s = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = s.address();
    s.close(() => done(port));
  });
});

// withEmulators runs f against emulators that make everything in a moment.
async function withEmulators(kind, f) {
  const names = ["fal", "minimax", "replicate", "comfy", "openai-videos", "ops"];
  const at = Object.fromEntries(await Promise.all(names.map(async (name) => [name, `127.0.0.1:${await freePort()}`])));
  const args = names.map((name) => `--${name}-listen=${at[name]}`);
  const store = path.join(scratch, kind);
  const child = spawn(binary, [...args, "--openai-server", kind, "--queue=50ms", "--run=200ms", "--store-dir", store, "--log-level=warn"],
    { stdio: ["ignore", "ignore", "inherit"] });
  const ended = new Promise((done) => child.once("exit", done));
  try {
    for (let n = 0; ; n++) {
      try {
        await fetch(`http://${at["openai-videos"]}/health`);
        break;
      } catch (e) {
        if (n === 100 || child.exitCode !== null) throw e;
        await sleep(100);
      }
    }
    await f(at);
  } finally {
    child.kill();
    await ended;
  }
}

async function until(ask, ...ends) {
  for (let n = 0; n < 200; n++) {
    const got = await ask();
    if (ends.includes(got.status)) return got;
    await sleep(50);
  }
  throw new Error("it does not end");
}

async function openai(kind, url) {
  const c = new OpenAI({ apiKey: "sk-ci", baseURL: url + "/v1", maxRetries: 0 });
  const file = await toFile(Buffer.from("a picture"), "first.png", { type: "image/png" });
  // The client sends a form; SGLang takes one with a file only.
  const made = await c.videos.create({ prompt: "a kite", seconds: "4", size: "1280x720", ...(kind === "any" ? {} : { input_reference: file }) });
  assert.equal(made.object, "video");
  assert.ok(["queued", "in_progress"].includes(made.status), made.status);
  const done = await until(() => c.videos.retrieve(made.id), "completed", "failed");
  assert.equal(done.status, "completed");
  const video = Buffer.from(await (await c.videos.downloadContent(made.id)).arrayBuffer());
  assert.equal(video.subarray(4, 8).toString(), "ftyp");
  const listed = [];
  for await (const v of c.videos.list({ limit: 1 })) listed.push(v.id);
  assert.deepEqual(listed, [made.id]);
  await c.videos.delete(made.id);
  await assert.rejects(c.videos.retrieve(made.id), (e) => e instanceof OpenAI.NotFoundError);
  const images = await c.images.generate({ model: "any", prompt: "a kite", n: 2, response_format: "b64_json" });
  assert.equal(images.data.length, 2);
  assert.equal(Buffer.from(images.data[0].b64_json, "base64").subarray(1, 4).toString(), "PNG");
  const speech = Buffer.from(await (await c.audio.speech.create({ model: "any", input: "good evening", voice: "vivian" })).arrayBuffer());
  assert.equal(speech.subarray(0, 4).toString(), "RIFF");
  const models = await c.models.list();
  assert.equal(models.data.length, 1);
}

async function replicate(url) {
  const c = new Replicate({ auth: "r8_ci", baseUrl: url + "/v1" });
  const output = await c.run("black-forest-labs/flux-schnell", { input: { prompt: "a kite", num_outputs: 2 }, wait: { mode: "poll", interval: 50 } });
  assert.equal(output.length, 2);
  assert.equal(Buffer.from(await (await fetch(output[1])).arrayBuffer()).subarray(1, 4).toString(), "PNG");
  const version = "5c7d5dc6".repeat(8);
  const made = await c.predictions.create({ version, input: { prompt: "a kite", emulate: { stall: "queued" } } });
  assert.equal(made.status, "starting");
  await c.predictions.cancel(made.id);
  assert.equal((await until(() => c.predictions.get(made.id), "canceled", "succeeded")).status, "canceled");
  const of = await c.deployments.predictions.create("acme", "ours", { input: { prompt: "a kite" } });
  assert.equal((await until(() => c.predictions.get(of.id), "succeeded", "failed")).status, "succeeded");
  const listed = [];
  for await (const page of c.paginate(c.predictions.list)) listed.push(...page.map((p) => p.id));
  assert.equal(listed.length, 3);
  const file = await c.files.create(Buffer.from("a picture"));
  assert.ok(file.urls.get.startsWith(url));
  assert.match((await c.webhooks.default.secret.get()).key, /^whsec_/);
}

for (const kind of ["any", "vllm-omni", "sglang"]) {
  await withEmulators(kind, async (at) => {
    await openai(kind, "http://" + at["openai-videos"]);
    console.log(`OpenAI's client makes a video, images and speech at ${kind}`);
    if (kind !== "any") return;
    await replicate("http://" + at.replicate);
    console.log("Replicate's client makes predictions, cancels, lists and uploads");
  });
}
