// Uses the console in a browser, as a newcomer would: makes a video, sees the page move to its end without a reload, also
// after a broken connection, and plays it; then opens every page light, dark and narrow. Nothing may be logged as an error,
// nothing may be wider than the screen, and axe may find nothing of weight.
// Usage: node console.mjs <reelay binary> <chromium> <directory with playwright-core and axe-core> <scratch directory>
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [reelay, chromium, modules, scratch] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), "x.js"));
const playwright = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const listen = ["listen", "webhook-listen", "mcp-listen", "archiver-listen", "console-listen", "ops-listen"];
const stack = spawn(reelay, ["up", "--sandbox", "--store-dir", path.join(scratch, "console"),
  ...listen.flatMap((name) => [`--${name}`, "127.0.0.1:0"])], { stdio: ["ignore", "pipe", "ignore"] });
const base = await new Promise((resolve, reject) => {
  let said = "";
  stack.stdout.on("data", (text) => {
    const found = /console +(http:\S+)/.exec(said += text);
    if (found) resolve(found[1]);
  });
  stack.on("exit", (code) => reject(new Error(`reelay up ended with ${code}`)));
});

const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });
const problems = [];
const open = async (context, where) => {
  const page = await context.newPage();
  page.on("console", (m) => m.type() === "error" && problems.push(`${where}: ${m.text()}`));
  page.on("pageerror", (e) => problems.push(`${where}: ${e}`));
  await page.goto(base + where);
  return page;
};

try {
  const context = await browser.newContext();
  const page = await open(context, "/try?model=fal-ai/flux/dev");
  await page.getByRole("textbox", { name: "prompt", exact: true }).fill("a kite <script>alert(1)</script>");
  await page.getByRole("button", { name: "What would it cost?" }).click();
  await page.getByText("expected cost").waitFor();
  await page.getByRole("button", { name: "Make it" }).click();
  await page.waitForURL("**/tasks/default/*");
  const task = new URL(page.url()).pathname;
  await page.getByText("Being sent").waitFor();
  await context.setOffline(true);
  await page.waitForTimeout(500);
  await context.setOffline(false);
  await page.locator("#task-story").getByText("Outputs stored", { exact: true }).waitFor({ timeout: 60_000 });
  await page.waitForFunction(() => document.querySelector("#task-outputs img")?.naturalWidth > 0);

  const modes = { light: {}, dark: { colorScheme: "dark" }, narrow: { viewport: { width: 360, height: 740 } } };
  for (const [mode, options] of Object.entries(modes)) {
    const context = await browser.newContext(options);
    for (const where of ["/", "/tasks", task, `${task}/parts`, "/lanes", "/spend", "/quality", "/callbacks", "/dead", "/try", "/try?model=fal-ai/flux/dev"]) {
      const page = await open(context, where);
      await page.waitForTimeout(300);
      if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) problems.push(`${where}, ${mode}: too wide`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      for (const v of violations) {
        if (v.impact !== "minor") problems.push(`${where}, ${mode}: ${v.id} at ${v.nodes[0].target}: ${v.help}`);
      }
      if (process.env.SHOTS) {
        const name = `${mode}${where.replace(/[^a-z0-9]+/g, "_")}.png`;
        await page.screenshot({ path: path.join(process.env.SHOTS, name), fullPage: true });
      }
      await page.close();
    }
  }
} finally {
  await browser.close();
  stack.removeAllListeners("exit");
  stack.kill("SIGINT");
}
for (const p of problems) console.log(p);
console.log(problems.length ? `${problems.length} problems` : "every page is as it should be");
process.exitCode = problems.length ? 1 : 0;
