// Writes webhooks.json: callbacks signed as fal documents it, by Node's crypto and none of this repository's code.
//
//     node generate.mjs > webhooks.json
//
// The keys come from fixed seeds and Ed25519 is deterministic, so a second run writes the same file.
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";

// An Ed25519 private key in PKCS#8 is this prefix and the seed (RFC 8410, section 7).
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");
const keyOf = (seed) => createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: "der", type: "pkcs8" });
const jwkOf = (key) => ({ ...createPublicKey(key).export({ format: "jwk" }), use: "sig" });

const counting = keyOf(Buffer.from([...Array(32).keys()]));
const other = keyOf(createHash("sha256").update("another key of fal").digest());

const userID = "user_abc";
const callback = (name, key, requestID, timestamp, body) => {
  const raw = Buffer.isBuffer(body) ? body : Buffer.from(body, "utf8");
  const digest = createHash("sha256").update(raw).digest("hex");
  const message = [requestID, userID, String(timestamp), digest].join("\n");
  return {
    name,
    request_id: requestID,
    user_id: userID,
    timestamp,
    body_base64: raw.toString("base64"),
    signature: sign(null, Buffer.from(message, "utf8"), key).toString("hex"),
  };
};

const id = "019e1951-c778-7120-9c82-16efcf40ec82";
const ok = `{"error": null, "gateway_request_id": "${id}", "payload": {"video": {"url": "https://example.test/a.mp4"}}, "request_id": "${id}", "status": "OK"}`;
const callbacks = [
  callback("ok", counting, id, 1700000000, ok),
  callback("signed by the other key", other, id, 1700000000, ok),
  callback("error", other, "R", 1767225600,
    '{"error": "Invalid status code: 422", "gateway_request_id": "G", "payload": {"detail": [{"loc": ["body", "prompt"], "msg": "field required", "type": "missing"}]}, "request_id": "R", "status": "ERROR"}'),
  callback("payload null", counting, "R", 1767225600,
    '{"error": null, "gateway_request_id": "G", "payload": null, "payload_error": "Response payload is not JSON serializable.", "request_id": "R", "status": "OK"}'),
  callback("numbers beyond int64, text beyond ASCII", counting, "R", 1767225600,
    '{"error": null, "gateway_request_id": "G", "payload": {"prompt": "ein Drachen \u00fcber D\u00fcnen \u{1FA81}", "seed": 17454220438242315174}, "request_id": "R", "status": "OK"}'),
  callback("no body", other, "R", 1767225600, ""),
  callback("bytes that are no text", other, "R", 1767225600, Buffer.from([...Array(256).keys()])),
  callback("long", counting, "R", 1767225600, JSON.stringify({ payload: "x".repeat(2_000) })),
];
console.log(JSON.stringify({ jwks: { keys: [jwkOf(other), jwkOf(counting)] }, callbacks }, null, 1));
