// Uses a Rialto gateway with the unmodified npm package openai, whose requests @x402/fetch pays for, and tells what it
// saw. Without schemes in its plan nothing pays beneath: it is a client that knows nothing of payment.
//
//     RIALTO_NODE_MODULES=DIR node openai_client.mjs PLAN
//
// PLAN is JSON: {url, rpc, chain_id, key, schemes, chat, embed: names of models, question}; without schemes {url,
// api_key, chat, embed, question}. The answer is one JSON object; openai_client.py gives the same.

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "x402.cjs"));
const OpenAI = require("openai").default;

const plan = JSON.parse(process.argv[2]);

// What pays beneath the client.
function paying() {
  const { wrapFetchWithPayment, x402Client } = require("@x402/fetch");
  const { toClientEvmSigner } = require("@x402/evm");
  const { BatchSettlementEvmScheme } = require("@x402/evm/batch-settlement/client");
  const { ExactEvmScheme } = require("@x402/evm/exact/client");
  const { createPublicClient, http } = require("viem");
  const { privateKeyToAccount } = require("viem/accounts");
  const { baseSepolia } = require("viem/chains");
  const chain = createPublicClient({ chain: baseSepolia, transport: http(plan.rpc) });
  const signer = toClientEvmSigner(privateKeyToAccount(plan.key), chain);
  const payer = new x402Client();
  for (const scheme of plan.schemes) {
    const made = scheme === "exact" ? new ExactEvmScheme(signer) : new BatchSettlementEvmScheme(signer);
    payer.register(`eip155:${plan.chain_id}`, made);
  }
  return { fetch: wrapFetchWithPayment(fetch, payer) };
}

const client = new OpenAI({
  baseURL: plan.url,
  apiKey: plan.api_key ?? "none",
  maxRetries: 0,
  ...(plan.schemes ? paying() : {}),
});

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const messages = [
  { role: "developer", content: "You are helpful." },
  { role: "user", content: [{ type: "text", text: plan.question }] },
];
const asked = { model: plan.chat, messages, max_completion_tokens: 12, temperature: 0, seed: 1 };
const whole = await client.chat.completions.create(asked);
let streamed = "";
let usage = null;
let reason = null;
const pieces = await client.chat.completions.create({
  ...asked,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const piece of pieces) {
  streamed += piece.choices[0]?.delta?.content ?? "";
  reason = piece.choices[0]?.finish_reason ?? reason;
  usage = piece.usage ?? usage;
}
const response = await client.responses.create({
  model: plan.chat,
  instructions: "You are helpful.",
  input: plan.question,
  max_output_tokens: 12,
  temperature: 0,
});
const events = [];
let final = null;
const following = await client.responses.create({
  model: plan.chat,
  input: plan.question,
  max_output_tokens: 12,
  stream: true,
});
for await (const event of following) {
  if (events.at(-1) !== event.type) events.push(event.type);
  final = event.response ?? final;
}
const vectors = await client.embeddings.create({ model: plan.embed, input: ["a cat", "a kitten"] });
const refused = await client.chat.completions
  .create({ ...asked, n: 2 })
  .then(() => null)
  .catch((error) => ({ status: error.status, param: error.param, code: error.code }));
const unknown = await client.embeddings
  .create({ model: plan.chat, input: "x" })
  .then(() => null)
  .catch((error) => ({ status: error.status, code: error.code }));

console.log(
  JSON.stringify({
    models,
    text: whole.choices[0].message.content,
    finish_reason: whole.choices[0].finish_reason,
    usage: whole.usage,
    streamed,
    streamed_usage: usage,
    streamed_reason: reason,
    response: response.output_text,
    response_status: response.status,
    events,
    final: final.output_text ?? final.output[0].content[0].text,
    dimensions: vectors.data.map((it) => it.embedding.length),
    refused,
    unknown,
  }),
);
