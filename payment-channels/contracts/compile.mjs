// Compiles src/ and test/ with the pinned solc and writes artifacts/.
//   node compile.mjs           writes the artifacts
//   node compile.mjs --check   compiles and compares with what is there; exits 1 on any difference
// The output depends on the sources and the compiler only: no dates, no paths, no metadata hash.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import sha3 from "js-sha3";
import solc from "solc";

const root = dirname(fileURLToPath(import.meta.url));
const out = join(root, "artifacts");
const SOLC_VERSION = "0.8.28+commit.7893614a";

/** What is written, by artifact path: the source file of each contract. */
const CONTRACTS = {
  "BatchSettlement.json": "src/BatchSettlement.sol",
  "Erc3009DepositCollector.json": "src/Erc3009DepositCollector.sol",
  "Permit2DepositCollector.json": "src/Permit2DepositCollector.sol",
  "DevToken.json": "src/DevToken.sol",
  "DevPermit2.json": "src/DevPermit2.sol",
  "RoyaltySplitter.json": "src/RoyaltySplitter.sol",
  "RoyaltySplitterFactory.json": "src/RoyaltySplitterFactory.sol",
  "IdentityRegistry.json": "src/registry/IdentityRegistry.sol",
  "ReputationRegistry.json": "src/registry/ReputationRegistry.sol",
  "test/HostileToken.json": "test/HostileToken.sol",
  "test/TestCollector.json": "test/TestCollector.sol",
  "test/TestReceiver.json": "test/TestReceiver.sol",
  "test/TestWallet.json": "test/TestWallet.sol",
};

/** Where a development chain's genesis puts the code; unmodified clients of x402 and ERC-8004 look there. */
const GENESIS = {
  BatchSettlement: "0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003",
  Erc3009DepositCollector: "0x4020806089470a89826cB9fB1f4059150b550004",
  Permit2DepositCollector: "0x4020425FAf3B746C082C2f942b4E5159887B0005",
  DevToken: "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
  DevPermit2: "0x000000000022D473030F116dDEE9F6B43aC78BA3",
  RoyaltySplitterFactory: "0xfaa9DD09F61171Ebf53423A9219dB447c4Cb3585",
  IdentityRegistry: "0x8004A818BFB912233c491871b3d84c89A494BD9e",
  ReputationRegistry: "0x8004B663056A597Dffe9eCcC1965A193B7388713",
};

/** Deploys anything at an address that follows from its code, on every chain. */
const CREATE2_DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C";

const SETTINGS = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: {
    "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences", "storageLayout"] },
  },
};

function files(folder, ending) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && e.name.endsWith(ending))
    .map((e) => relative(root, join(e.parentPath ?? e.path, e.name)).split(sep).join("/"))
    .sort();
}

function compile() {
  if (!solc.version().startsWith(SOLC_VERSION)) {
    throw new Error(`solc is ${solc.version()}, expected ${SOLC_VERSION}: run \`npm ci --ignore-scripts\``);
  }
  const paths = [...files(join(root, "src"), ".sol"), ...files(join(root, "test"), ".sol")];
  const sources = Object.fromEntries(paths.map((p) => [p, { content: readFileSync(join(root, p), "utf8") }]));
  const input = { language: "Solidity", sources, settings: SETTINGS };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const problems = output.errors ?? [];
  for (const p of problems) console.error(p.formattedMessage);
  if (problems.length > 0) throw new Error("the compiler has errors or warnings");
  return output.contracts;
}

const nameOf = (source) => source.slice(source.lastIndexOf("/") + 1, -".sol".length);

/** The factory's address is a promise to payers: it follows from the factory's code. */
function checkFactory(initCode) {
  const salt = "00".repeat(32);
  const packed = `ff${CREATE2_DEPLOYER.slice(2)}${salt}${sha3.keccak256(Buffer.from(initCode, "hex"))}`;
  const address = `0x${sha3.keccak256(Buffer.from(packed, "hex")).slice(24)}`;
  if (GENESIS.RoyaltySplitterFactory.toLowerCase() !== address) {
    throw new Error(`the factory's address is ${address} now: put it into GENESIS here and into contracts.rs`);
  }
}

/** Every artifact as text, by its path below artifacts/. */
function artifacts() {
  const contracts = compile();
  const texts = new Map();
  const write = (path, value) => texts.set(path, `${JSON.stringify(value, null, 1)}\n`);
  for (const [path, source] of Object.entries(CONTRACTS)) {
    const { abi, evm } = contracts[source][nameOf(source)];
    if (nameOf(source) in GENESIS && Object.keys(evm.deployedBytecode.immutableReferences).length > 0) {
      throw new Error(`${source} has immutables: it cannot be genesis code`);
    }
    write(path, {
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
    });
  }
  checkFactory(contracts["src/RoyaltySplitterFactory.sol"].RoyaltySplitterFactory.evm.bytecode.object);
  const slots = {};
  for (const [name, source] of Object.entries({
    BatchSettlement: "src/BatchSettlement.sol",
    DevToken: "src/DevToken.sol",
  })) {
    const { storage } = contracts[source][name].storageLayout;
    if (storage.some((s) => s.offset !== 0)) throw new Error(`${name} packs state variables into one slot`);
    slots[name] = Object.fromEntries(storage.map((s) => [s.label.replace(/^_/, ""), Number(s.slot)]));
  }
  write("genesis.json", {
    about:
      "Code to place at genesis, with storage slots as the compiler numbers them. The value of key k of the mapping in slot p is at keccak256(abi.encode(k, p)); for a nested mapping apply the rule twice. Set DevToken.totalSupply to the sum of the balances set.",
    chainId: 84532,
    addresses: GENESIS,
    slots,
  });
  return texts;
}

function check(texts) {
  const stale = [...texts].filter(([path, text]) => {
    const at = join(out, path);
    return !existsSync(at) || readFileSync(at, "utf8") !== text;
  });
  const known = new Set([...texts.keys()].map((p) => `artifacts/${p}`));
  const extra = files(out, ".json").filter((p) => !known.has(p));
  for (const [path] of stale) console.error(`artifacts/${path} is not what the sources compile to`);
  for (const path of extra) console.error(`${path} comes from no source`);
  if (stale.length + extra.length === 0) {
    console.log(`${texts.size} artifacts are up to date`);
    return;
  }
  console.error("run `node compile.mjs` and commit the result");
  process.exitCode = 1;
}

const args = process.argv.slice(2);
if (args.some((a) => a !== "--check")) {
  console.error("usage: node compile.mjs [--check]");
  process.exit(2);
}
const texts = artifacts();
if (args.includes("--check")) {
  check(texts);
} else {
  rmSync(out, { recursive: true, force: true });
  for (const [path, text] of texts) {
    mkdirSync(dirname(join(out, path)), { recursive: true });
    writeFileSync(join(out, path), text);
  }
  console.log(`wrote ${texts.size} artifacts`);
}
