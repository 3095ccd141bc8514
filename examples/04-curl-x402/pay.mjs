// One call, paid by the unmodified npm packages @x402/fetch and @x402/evm.
//
//     RIALTO_NODE_MODULES=DIR PAYER_KEY=0x… node pay.mjs URL BODY RPC

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "pay.cjs"));
const { wrapFetchWithPayment, x402Client } = require("@x402/fetch");
const { toClientEvmSigner } = require("@x402/evm");
const { ExactEvmScheme } = require("@x402/evm/exact/client");
const { createPublicClient, http } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

const [url, body, rpc] = process.argv.slice(2);
const chain = createPublicClient({ chain: baseSepolia, transport: http(rpc) });
const client = new x402Client();
client.register("eip155:84532", new ExactEvmScheme(toClientEvmSigner(privateKeyToAccount(process.env.PAYER_KEY), chain)));
const paying = wrapFetchWithPayment(fetch, client);

const answer = await paying(url, { method: "POST", headers: { "content-type": "application/json" }, body });
const text = await answer.text();
if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
const receipt = JSON.parse(atob(answer.headers.get("rialto-receipt")));
console.log(`answer   ${JSON.parse(text).description}`);
console.log(`charged  ${receipt.charged} base units`);
console.log(`receipt  ${receipt.id}`);
