// Somebody else's facilitator: unmodified @x402/core with the EVM `exact` scheme, on loopback.
//
//     RIALTO_NODE_MODULES=DIR node facilitator.mjs PLAN
//
// PLAN is JSON: {rpc, key, network}; the key pays the gas. It prints {url} and serves until standard
// input ends; then it prints how often it was asked.

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const express = require("express");
const { x402Facilitator } = require("@x402/core/facilitator");
const { toFacilitatorEvmSigner } = require("@x402/evm");
const { ExactEvmScheme } = require("@x402/evm/exact/facilitator");
const { createWalletClient, http, publicActions } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

const plan = JSON.parse(process.argv[2]);
const account = privateKeyToAccount(plan.key);
const wallet = createWalletClient({
  account,
  chain: baseSepolia,
  transport: http(plan.rpc),
  pollingInterval: 50,
}).extend(publicActions);
const signer = toFacilitatorEvmSigner({
  address: account.address,
  getCode: (args) => wallet.getCode(args),
  readContract: (args) => wallet.readContract({ ...args, args: args.args ?? [] }),
  verifyTypedData: (args) => wallet.verifyTypedData(args),
  writeContract: (args) => wallet.writeContract({ ...args, args: args.args ?? [] }),
  sendTransaction: (args) => wallet.sendTransaction(args),
  waitForTransactionReceipt: (args) => wallet.waitForTransactionReceipt(args),
});
const facilitator = new x402Facilitator().register(plan.network, new ExactEvmScheme(signer));

const asked = { verify: 0, settle: 0 };
const app = express();
app.use(express.json());
for (const what of ["verify", "settle"]) {
  app.post(`/${what}`, async (request, answer) => {
    asked[what] += 1;
    const { paymentPayload, paymentRequirements } = request.body;
    try {
      answer.json(await facilitator[what](paymentPayload, paymentRequirements));
    } catch (error) {
      answer.status(500).json({ error: String(error) });
    }
  });
}
app.get("/supported", (_, answer) => answer.json(facilitator.getSupported()));

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const listening = app.listen(0, "127.0.0.1", () => {
  say({ url: `http://127.0.0.1:${listening.address().port}`, payer_of_gas: account.address });
});
for await (const _ of process.stdin);
say(asked);
process.exit(0);
