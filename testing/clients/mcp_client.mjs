// Uses a Rialto gateway's tools with the unmodified npm packages @modelcontextprotocol/sdk and @x402/evm and tells
// what it saw.
//
//     RIALTO_NODE_MODULES=DIR node mcp_client.mjs PLAN
//
// PLAN and the answer are those of mcp_client.py beside this file, which describes them. There is no package of x402
// for MCP on npm: the payment that @x402/core makes is put where x402 says, by the two lines of `paid`.

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { x402Client } = require("@x402/fetch");
const { toClientEvmSigner } = require("@x402/evm");
const { BatchSettlementEvmScheme } = require("@x402/evm/batch-settlement/client");
const { ExactEvmScheme } = require("@x402/evm/exact/client");
const { createPublicClient, http } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

const plan = JSON.parse(process.argv[2]);
const chain = createPublicClient({ chain: baseSepolia, transport: http(plan.rpc) });
const signer = plan.key ? toClientEvmSigner(privateKeyToAccount(plan.key), chain) : null;
const payer = new x402Client();
for (const scheme of plan.schemes ?? []) {
  const made = scheme === "exact" ? new ExactEvmScheme(signer) : new BatchSettlementEvmScheme(signer);
  payer.register(`eip155:${plan.chain_id}`, made);
}

const client = new Client({ name: "stranger", version: "1.0.0" });
const [program, ...args] = plan.command ?? [];
const transport = plan.command
  ? new StdioClientTransport({ command: program, args, env: plan.env })
  : new StreamableHTTPClientTransport(new URL(plan.url));
await client.connect(transport);

async function paid(call, required) {
  const payment = await payer.createPaymentPayload(required);
  return client.callTool({ ...call, _meta: { "x402/payment": payment } });
}

const listed = await client.listTools();
const found = await client.callTool({ name: "rialto__search", arguments: { query: plan.words } });
const calls = [];
for (const call of plan.calls) {
  const unpaid = await client.callTool(call);
  const required = unpaid.structuredContent;
  const costs = unpaid.isError === true && Array.isArray(required?.accepts);
  const made = costs ? await paid(call, required) : unpaid;
  calls.push({
    text: made.content[0]?.text ?? null,
    is_error: made.isError ?? false,
    paid: costs,
    settled: made._meta?.["x402/payment-response"] ?? null,
    meta: made._meta ?? null,
  });
}
console.log(
  JSON.stringify({
    revision: transport.protocolVersion ?? null,
    tools: listed.tools.map((tool) => tool.name),
    found: found.structuredContent,
    calls,
  }),
);
await client.close();
