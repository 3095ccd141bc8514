// Pays a Rialto gateway with the unmodified npm client of x402 version 1 (x402-fetch) and tells
// what that client saw.
//
//     RIALTO_NODE_MODULES=DIR node x402_v1.mjs PLAN
//
// PLAN is JSON: {url, rpc, key, calls}. The answer on standard output is one JSON object.

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const { decodeXPaymentResponse, wrapFetchWithPayment } = require("x402-fetch");
const { createWalletClient, http, publicActions } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

const plan = JSON.parse(process.argv[2]);
const account = privateKeyToAccount(plan.key);
const wallet = createWalletClient({ account, chain: baseSepolia, transport: http(plan.rpc) });
const paying = wrapFetchWithPayment(fetch, wallet.extend(publicActions));

const seen = { payer: account.address, calls: [] };
for (let number = 0; number < plan.calls; number += 1) {
  const response = await paying(plan.url, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: `Note ${number}: the tide keeps the accounts of the harbour.\n`,
  });
  const answer = await response.text();
  if (response.status !== 200) throw new Error(`answered ${response.status}: ${answer}`);
  seen.calls.push({
    answer: JSON.parse(answer),
    settled: decodeXPaymentResponse(response.headers.get("X-PAYMENT-RESPONSE")),
    receipt: JSON.parse(atob(response.headers.get("RIALTO-RECEIPT"))).id,
  });
}
process.stdout.write(JSON.stringify(seen) + "\n");
