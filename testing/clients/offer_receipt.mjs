// Buys one call by `exact` and checks the host's signatures of its offers and of its payment with
// the published package's own verifier (@x402/extensions).
//
//     RIALTO_NODE_MODULES=DIR node offer_receipt.mjs PLAN
//
// PLAN is JSON: {url, rpc, key, chain_id}. The answer on standard output is one JSON object.

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const { wrapFetchWithPayment, x402Client } = require("@x402/fetch");
const { decodePaymentRequiredHeader } = require("@x402/core/http");
const { toClientEvmSigner } = require("@x402/evm");
const { ExactEvmScheme } = require("@x402/evm/exact/client");
const extension = require("@x402/extensions/offer-receipt");
const { createPublicClient, http } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

const plan = JSON.parse(process.argv[2]);
const account = privateKeyToAccount(plan.key);
const chain = createPublicClient({ chain: baseSepolia, transport: http(plan.rpc) });
const client = new x402Client();
client.register(`eip155:${plan.chain_id}`, new ExactEvmScheme(toClientEvmSigner(account, chain)));

let required = null;
async function watching(input, init) {
  const response = await fetch(input, init);
  if (response.status === 402) {
    required ??= decodePaymentRequiredHeader(response.headers.get("PAYMENT-REQUIRED"));
  }
  return response;
}
const response = await wrapFetchWithPayment(watching, client)(plan.url, {
  method: "POST",
  headers: { "content-type": "application/octet-stream" },
  body: "A note on the harbour.\n",
});
if (response.status !== 200) throw new Error(`answered ${response.status}`);

const offers = extension.extractOffersFromPaymentRequired(required);
const decoded = extension.decodeSignedOffers(offers);
const checked = [];
for (const [index, offer] of offers.entries()) {
  const { signer, payload } = await extension.verifyOfferSignatureEIP712(offer);
  const accepted = extension.findAcceptsObjectFromSignedOffer(decoded[index], required.accepts);
  checked.push({ signer, scheme: payload.scheme, accepted: accepted?.scheme });
}
const receipt = extension.extractReceiptFromResponse(response);
const { signer, payload } = await extension.verifyReceiptSignatureEIP712(receipt);
const exact = decoded.find((offer) => offer.scheme === "exact");
const matches = extension.verifyReceiptMatchesOffer(receipt, exact, [account.address]);

// A statement with another amount must not be this host's.
const forged = structuredClone(offers[0]);
forged.payload.amount = "1";
const forger = (await extension.verifyOfferSignatureEIP712(forged)).signer;
process.stdout.write(
  JSON.stringify({ payer: account.address, offers: checked, receipt: { signer, ...payload }, matches, forger }) + "\n",
);
