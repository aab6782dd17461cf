// Writes a TypeScript file that gives every input of internal/want/testdata/inputs.json the type that fal's own client has
// of it. Arguments: the inputs, the client's endpoints.d.ts, the file to write.
import { readFileSync, writeFileSync } from "node:fs";

const [inputs, types, out] = process.argv.slice(2);
const shipped = readFileSync(types, "utf8");
// Release 1.10.1 writes the whole numbers of these as strings; the client's source has them as numbers since August 2026.
const outdated = /^fal-ai\/(wan\/v2\.7|ltx-2\.3)\//;
let text = 'import type { EndpointTypeMap } from "@fal-ai/client/endpoints";\n';
let checked = 0;
const missing = [];
const left = [];
for (const { model, input } of JSON.parse(readFileSync(inputs, "utf8"))) {
  if (!model.includes("/")) continue; // another provider's
  if (!shipped.includes(`"${model}": {`)) {
    missing.push(model);
    continue;
  }
  if (outdated.test(model)) {
    left.push(model);
    delete input.duration;
  }
  text += `export const i${checked++}: EndpointTypeMap["${model}"]["input"] = ${JSON.stringify(input)};\n`;
}
writeFileSync(out, text);
console.log(`${checked} inputs have fal's types to check against`);
console.log(`without their duration: ${left.join(" ")}`);
console.log(`not checked, this release does not know them: ${missing.join(" ")}`);
