// Somebody else's paid server: unmodified @x402/express, which has its payments checked and carried
// out by the facilitator it is given.
//
//     RIALTO_NODE_MODULES=DIR node resource_server.mjs PLAN
//
// PLAN is JSON: {facilitator, key, network}; the key is paid and signs the server's claims. It
// prints {url} and serves until standard input ends. A line `collect` claims and settles what its
// channels owe, a line `refund` gives every channel's rest back; each prints one JSON object.

import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const express = require("express");
const { paymentMiddleware, x402ResourceServer } = require("@x402/express");
const { HTTPFacilitatorClient } = require("@x402/core/server");
const { ExactEvmScheme } = require("@x402/evm/exact/server");
const { BatchSettlementEvmScheme } = require("@x402/evm/batch-settlement/server");
const { privateKeyToAccount } = require("viem/accounts");

const plan = JSON.parse(process.argv[2]);
const account = privateKeyToAccount(plan.key);
const facilitator = new HTTPFacilitatorClient({ url: plan.facilitator });
const batch = new BatchSettlementEvmScheme(account.address, { receiverAuthorizerSigner: account });
const server = new x402ResourceServer(facilitator)
  .register(plan.network, new ExactEvmScheme())
  .register(plan.network, batch);

const price = (scheme) => ({ scheme, network: plan.network, payTo: account.address, price: "$0.001" });
const routes = {
  "GET /exact": { accepts: [price("exact")], description: "One line.", mimeType: "application/json" },
  "GET /channel": {
    accepts: [price("batch-settlement")],
    description: "One line.",
    mimeType: "application/json",
  },
};
const app = express();
app.use(paymentMiddleware(routes, server));
app.get(["/exact", "/channel"], (_, answer) => answer.json({ line: "The tide keeps the accounts." }));

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const listening = app.listen(0, "127.0.0.1", () => {
  say({ url: `http://127.0.0.1:${listening.address().port}`, receiver: account.address });
});
const manager = batch.createChannelManager(facilitator, plan.network);
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say(line === "collect" ? await manager.claimAndSettle() : { refunds: await manager.refund() });
  } catch (error) {
    say({ error: String(error) });
  }
}
process.exit(0);
