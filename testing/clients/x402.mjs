// Pays a Rialto gateway with the unmodified npm client (@x402/fetch, @x402/evm) and tells what that
// client saw.
//
//     RIALTO_NODE_MODULES=DIR node x402.mjs PLAN
//
// PLAN is JSON: {url, rpc, key, chain_id, schemes: ["batch-settlement" | "exact"], steps}, and
// `deposit_method` where only offers with that method of deposits are to be taken. A step is
// {calls, at_once, first} (bodies are numbered from `first`, so that each is distinct) or
// {refund: "all" | "AMOUNT"}. Every run starts without any state: a second run is a cold client.
// The answer on standard output is one JSON object; x402_client.py gives the same.

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
const batch = new BatchSettlementEvmScheme(signer);
const client = new x402Client();
const network = `eip155:${plan.chain_id}`;
if (plan.deposit_method) {
  client.registerPolicy((_, offers) =>
    offers.filter((offer) => (offer.extra?.assetTransferMethod ?? "eip3009") === plan.deposit_method),
  );
}
for (const scheme of plan.schemes) {
  client.register(network, scheme === "exact" ? new ExactEvmScheme(signer) : batch);
}

const seen = {
  payer: account.address,
  channel: null,
  calls: [],
  charged: 0n,
  deposited: 0n,
  deposits: 0,
  deposits_unsure: 0n,
  paid_at_once: 0n,
  refunded: 0n,
  corrections: 0,
  in_flight_max: 0,
};

// Notes what the wire shows: corrective answers, how many paid requests overlap, and deposits whose
// call was refused (they may be on the chain all the same).
let inFlight = 0;
async function watching(input, init) {
  const header = new Headers(init?.headers ?? input.headers).get("PAYMENT-SIGNATURE");
  if (header === null) return fetch(input, init);
  inFlight += 1;
  seen.in_flight_max = Math.max(seen.in_flight_max, inFlight);
  const response = await fetch(input, init).finally(() => {
    inFlight -= 1;
  });
  if (response.status !== 200) {
    seen.corrections += response.status === 402 ? 1 : 0;
    const { payload } = JSON.parse(atob(header));
    if (payload.type === "deposit") seen.deposits_unsure += BigInt(payload.deposit.amount);
  }
  return response;
}
const paying = wrapFetchWithPayment(watching, client);

/** A text of its own for every number, of one to four KiB. */
function body(number) {
  const line = `Note ${number}: the tide keeps the accounts of the harbour.\n`;
  return line.repeat(Math.floor(((number % 4) * 1024) / line.length) + 1);
}

async function call(number) {
  const text = body(number);
  const response = await paying(plan.url, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: text,
  });
  const answer = await response.text();
  if (response.status !== 200) {
    throw new Error(`call ${number} was answered ${response.status}: ${answer}`);
  }
  const settled = decodePaymentResponseHeader(response.headers.get("PAYMENT-RESPONSE"));
  const receipt = JSON.parse(atob(response.headers.get("RIALTO-RECEIPT")));
  note(settled);
  seen.calls.push({
    number,
    bytes: new TextEncoder().encode(text).length,
    answer: JSON.parse(answer),
    charged: settled.extra?.chargedAmount ?? settled.amount,
    receipt: receipt.id,
    receipt_charged: receipt.charged,
  });
}

/** Adds one successful payment to the account. */
function note(settled) {
  if (!settled.success) throw new Error(`a paid answer says: ${JSON.stringify(settled)}`);
  const state = settled.extra?.channelState;
  if (!state) {
    seen.paid_at_once += BigInt(settled.amount);
    return;
  }
  seen.channel ??= state.channelId;
  if (seen.channel !== state.channelId) throw new Error("the channel changed between calls");
  seen.charged += BigInt(settled.extra.chargedAmount);
  if (settled.transaction) {
    seen.deposited += BigInt(settled.amount);
    seen.deposits += 1;
  }
}

/** Runs the calls, at most `at_once` at a time. */
async function calls({ calls: count, at_once: atOnce, first }) {
  let next = first;
  const worker = async () => {
    while (next < first + count) await call(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function refund(amount) {
  const options = amount === "all" ? { fetch: watching } : { amount, fetch: watching };
  const settled = await batch.refund(plan.url, options);
  if (!settled.success) throw new Error(`no refund: ${JSON.stringify(settled)}`);
  seen.channel ??= settled.extra?.channelState?.channelId;
  seen.refunded += BigInt(settled.amount);
}

for (const step of plan.steps) {
  await (step.refund === undefined ? calls(step) : refund(step.refund));
}
process.stdout.write(
  JSON.stringify(seen, (_, value) => (typeof value === "bigint" ? value.toString() : value)) + "\n",
);
