// Registers agents, reads them and says something of them with the published ERC-8004 SDK (agent0-sdk),
// through a chain's RPC endpoint alone: no IPFS, no subgraph.
//
//     RIALTO_NODE_MODULES=DIR node agent0.mjs PLAN
//
// PLAN is JSON: {rpc, chain_id, key, steps: [STEP..]}, where a step is one of
//     {register: {name, description, image, mcp, metadata: {KEY: TEXT}}}
//     {load: AGENT, keys: [KEY..]}
//     {wallet: AGENT, key}          key: the new wallet's private key; without one the wallet is unset
//     {uri: AGENT, to: URI}
//     {feedback: AGENT, value, tag1, tag2, endpoint}
//     {transfer: AGENT, to: ADDRESS}
// and an agent is `chainId:agentId`. The answer on standard output is one JSON list: what each step saw.

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const modules = process.env.RIALTO_NODE_MODULES;
const require = createRequire(path.join(modules, "..", "agent0.cjs"));
// The package has an entry for imports alone.
const entry = path.join(modules, "agent0-sdk", "dist", "index.js");
const { SDK, IDENTITY_REGISTRY_ABI } = await import(pathToFileURL(entry));
const { privateKeyToAccount } = require("viem/accounts");

const plan = JSON.parse(process.argv[2]);
const sdk = new SDK({
  chainId: plan.chain_id,
  rpcUrl: plan.rpc,
  privateKey: plan.key,
  // Nothing is asked of the public index.
  subgraphOverrides: { [plan.chain_id]: "" },
});

const read = (functionName, ...args) =>
  sdk.chainClient.readContract({
    address: sdk.identityRegistryAddress(),
    abi: IDENTITY_REGISTRY_ABI,
    functionName,
    args,
  });
const tokenOf = (agent) => BigInt(agent.split(":")[1]);

async function register(wanted) {
  const agent = sdk.createAgent(wanted.name, wanted.description, wanted.image);
  if (wanted.mcp) await agent.setMCP(wanted.mcp, "2025-06-18", false);
  agent.setMetadata(wanted.metadata ?? {});
  agent.setActive(true);
  const sent = await agent.registerOnChain();
  const { result } = await sent.waitMined({ timeoutMs: 20_000 });
  return { agent: result.agentId, transaction: sent.hash };
}

async function load(id, keys) {
  const agent = await sdk.loadAgent(id);
  const file = agent.getRegistrationFile();
  const metadata = {};
  for (const key of keys ?? []) metadata[key] = await read("getMetadata", tokenOf(id), key);
  return {
    name: file.name,
    description: file.description,
    image: file.image,
    active: file.active,
    x402: file.x402support,
    trust: file.trustModels,
    endpoints: file.endpoints.map(({ type, value, meta }) => ({ type, value, version: meta?.version })),
    uri: file.agentURI,
    owner: await sdk.getAgentOwner(id),
    wallet: (await agent.getWallet()) ?? null,
    metadata,
  };
}

async function wallet(id, key) {
  const agent = await sdk.loadAgent(id);
  const sent = key
    ? await agent.setWallet(privateKeyToAccount(key).address, { newWalletPrivateKey: key })
    : await agent.unsetWallet();
  await sent.waitMined({ timeoutMs: 20_000 });
  const now = await read("getAgentWallet", tokenOf(id));
  return { wallet: now };
}

async function feedback({ feedback: id, value, tag1, tag2, endpoint }) {
  const sent = await sdk.giveFeedback(id, value, tag1, tag2, endpoint);
  await sent.waitMined({ timeoutMs: 20_000 });
  const client = await sdk.chainClient.ensureAddress();
  const last = await sdk.getFeedback(id, client, 1);
  return { client, value: last.value, tags: last.tags, summary: await sdk.getReputationSummary(id) };
}

async function mined(sent) {
  await sent.waitMined({ timeoutMs: 20_000 });
  return { transaction: sent.hash };
}

async function run(step) {
  if (step.register) return register(step.register);
  if (step.load) return load(step.load, step.keys);
  if (step.wallet) return wallet(step.wallet, step.key);
  if (step.uri) return mined(await (await sdk.loadAgent(step.uri)).setAgentURI(step.to));
  if (step.feedback) return feedback(step);
  if (step.transfer) return mined(await sdk.transferAgent(step.transfer, step.to));
  throw new Error(`no such step: ${JSON.stringify(step)}`);
}

const seen = [];
for (const step of plan.steps) seen.push(await run(step));
console.log(JSON.stringify(seen));
