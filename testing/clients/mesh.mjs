// A stranger's stack on the mesh: js-libp2p, unmodified, finds who provides a service in the network's DHT,
// fetches its signed manifest and calls it, over a stream and over HTTP, paying with an unmodified x402 client.
//
//     RIALTO_NODE_MODULES=DIR node mesh.mjs PLAN
//
// PLAN is JSON: {rpc, key, chain_id, bootstrap, service, method, parameters, gateway}. The answer on standard
// output is one JSON object.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

// js-libp2p is written for Node 22, which has this; it asks for nothing else that Node 20 lacks.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
};

const modules = process.env.RIALTO_NODE_MODULES;
const require = createRequire(path.join(modules, "..", "mesh.cjs"));
const { wrapFetchWithPayment, x402Client } = require("@x402/fetch");
const { toClientEvmSigner } = require("@x402/evm");
const { BatchSettlementEvmScheme } = require("@x402/evm/batch-settlement/client");
const { createPublicClient, http } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { baseSepolia } = require("viem/chains");

/** Packages that are for `import` alone. */
const load = (name, file = "dist/src/index.js") => import(pathToFileURL(path.join(modules, name, file)));
const { createLibp2p } = await load("libp2p");
const { tcp } = await load("@libp2p/tcp");
const { noise } = await load("@libp2p/noise");
const { yamux } = await load("@libp2p/yamux");
const { identify } = await load("@libp2p/identify");
const { ping } = await load("@libp2p/ping");
const { kadDHT, passthroughMapper } = await load("@libp2p/kad-dht");
const { multiaddr } = await load("@multiformats/multiaddr");
const { CID } = await load("multiformats", "dist/src/cid.js");
const digest = await load("multiformats", "dist/src/hashes/digest.js");

const KAD = "/rialto/kad/1.0.0";
const HTTP = "/http/1.1";
const RAW = 0x55;
const SHA2_256 = 0x12;

const plan = JSON.parse(process.argv[2]);
const { bootstrap, service, method, parameters, gateway } = plan;

function paying(fetchLike) {
  const account = privateKeyToAccount(plan.key);
  const chain = createPublicClient({ chain: baseSepolia, transport: http(plan.rpc) });
  const client = new x402Client();
  client.register(`eip155:${plan.chain_id}`, new BatchSettlementEvmScheme(toClientEvmSigner(account, chain)));
  return wrapFetchWithPayment(fetchLike, client);
}

/** Where something is registered: the SHA-256 of a text, as a CID for the library's sake. */
function key(kind, value) {
  const hash = createHash("sha256").update(`rialto:v1:${kind}:${value}`).digest();
  return CID.createV1(RAW, digest.create(SHA2_256, hash));
}

async function start() {
  return createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({ protocol: KAD, clientMode: true, peerInfoMapper: passthroughMapper }),
    },
  });
}

/** The first peer that provides the service. */
async function find(node) {
  const options = { signal: AbortSignal.timeout(30_000) };
  for await (const provider of node.contentRouting.findProviders(key("service", service), options)) {
    if (provider.multiaddrs.length > 0) return provider;
  }
  throw new Error("the DHT names no provider");
}

/** One HTTP/1.1 request on one stream: what `fetch` would do over a socket. */
function fetchOver(node, peer) {
  return async (input, init) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    const body = Buffer.from(await request.arrayBuffer());
    const stream = await node.dialProtocol(peer, HTTP);
    const head = [`${request.method} ${url.pathname}${url.search} HTTP/1.1`, `host: ${url.host}`];
    for (const [name, value] of request.headers) head.push(`${name}: ${value}`);
    head.push("connection: close", `content-length: ${body.length}`, "", "");
    stream.send(Buffer.concat([Buffer.from(head.join("\r\n")), body]));
    const parts = [];
    for await (const part of stream) parts.push(Buffer.from(part.subarray()));
    return response(Buffer.concat(parts));
  };
}

function response(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) throw new Error("the answer has no head");
  const [status, ...lines] = bytes.subarray(0, end).toString().split("\r\n");
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const body = bytes.subarray(end + 4);
  if (headers.get("content-length") !== null && body.length !== Number(headers.get("content-length"))) {
    throw new Error("the answer broke off");
  }
  return new Response(body, { status: Number(status.split(" ")[1]), headers });
}

async function call(fetchLike, base) {
  const answer = await paying(fetchLike)(`${base}/services/${service}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(parameters),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}

const node = await start();
try {
  await node.dial(multiaddr(bootstrap));
  const provider = await find(node);
  await node.dial(provider.multiaddrs.map((address) => {
    const named = address.toString().includes("/p2p/");
    return named ? address : address.encapsulate(`/p2p/${provider.id}`);
  }));
  const over = fetchOver(node, provider.id);
  const base = `http://${provider.id}`;
  const fetched = await over(`${base}/manifests/${service}`);
  const text = await fetched.text();
  const manifest = JSON.parse(JSON.parse(text).payload);
  const overStream = await call(over, base);
  const overHttp = gateway === undefined ? undefined : await call(fetch, gateway);
  const sha256 = createHash("sha256").update(text).digest("hex");
  console.log(JSON.stringify({
    provider: provider.id.toString(),
    manifest: { sha256, name: manifest.manifest.name, component: manifest.component.sha256 },
    overStream,
    overHttp,
  }));
} finally {
  await node.stop();
}
