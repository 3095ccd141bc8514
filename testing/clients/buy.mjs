// Buys one page each from a list of URLs with the unmodified npm client (@x402/fetch, @x402/evm).
//
//     RIALTO_NODE_MODULES=DIR node buy.mjs PLAN
//
// PLAN is JSON: {rpc, key, chain_id, urls}. The answer on standard output is one JSON object.

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } = require("@x402/fetch");
const { toClientEvmSigner } = require("@x402/evm");
const { BatchSettlementEvmScheme } = require("@x402/evm/batch-settlement/client");
const { ExactEvmScheme } = require("@x402/evm/exact/client");
const { createPublicClient, http } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

const plan = JSON.parse(process.argv[2]);
const account = privateKeyToAccount(plan.key);
const chain = createPublicClient({ chain: baseSepolia, transport: http(plan.rpc) });
const signer = toClientEvmSigner(account, chain);
const client = new x402Client();
const network = `eip155:${plan.chain_id}`;
client.register(network, new BatchSettlementEvmScheme(signer));
client.register(network, new ExactEvmScheme(signer));
const paying = wrapFetchWithPayment(fetch, client);

const bought = [];
for (const url of plan.urls) {
  const response = await paying(url);
  const body = await response.text();
  if (response.status !== 200) throw new Error(`${url} was answered ${response.status}: ${body}`);
  const settled = decodePaymentResponseHeader(response.headers.get("PAYMENT-RESPONSE"));
  bought.push({ body: JSON.parse(body), settled });
}
process.stdout.write(JSON.stringify({ payer: account.address, bought }) + "\n");
