// Pays with the unmodified npm client (@x402/fetch, @x402/evm) for answers that come as events, and tells what
// came when.
//
//     RIALTO_NODE_MODULES=DIR node x402_events.mjs PLAN
//
// PLAN is JSON: {rpc, key, chain_id, calls: [{url, method, body}]}; `body` may be missing. Each call is made when
// the one before was read to its end. The answer is JSON: {"calls": [{status, pieces: [{at_ms, text}]}],
// "demands": how often a paid request was answered 402}. x402_events.py gives the same.

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const { wrapFetchWithPayment, x402Client } = require("@x402/fetch");
const { toClientEvmSigner } = require("@x402/evm");
const { BatchSettlementEvmScheme } = require("@x402/evm/batch-settlement/client");
const { createPublicClient, http } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

const plan = JSON.parse(process.argv[2]);
const chain = createPublicClient({ chain: baseSepolia, transport: http(plan.rpc) });
const signer = toClientEvmSigner(privateKeyToAccount(plan.key), chain);
const client = new x402Client();
client.register(`eip155:${plan.chain_id}`, new BatchSettlementEvmScheme(signer));

let demands = 0;
async function watching(input, init) {
  const response = await fetch(input, init);
  const headers = new Headers(init?.headers ?? input.headers);
  if (headers.has("PAYMENT-SIGNATURE") && response.status === 402) demands += 1;
  return response;
}
const paying = wrapFetchWithPayment(watching, client);

async function call({ url, method, body }) {
  const headers = { accept: "text/event-stream", "content-type": "application/json" };
  const response = await paying(url, { method, headers, body: JSON.stringify(body) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const pieces = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { status: response.status, pieces };
    pieces.push({ at_ms: Math.round(performance.now()), text: value });
  }
}

const calls = [];
for (const next of plan.calls) calls.push(await call(next));
process.stdout.write(JSON.stringify({ calls, demands }) + "\n");
