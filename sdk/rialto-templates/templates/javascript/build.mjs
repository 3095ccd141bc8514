// Builds the service: dist/{{name}}/component.wasm beside its manifest, as a host reads it.

import { Buffer } from "node:buffer";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { componentize } from "componentize-qjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = at("dist/{{name}}/");

const { component } = await componentize({
  witPath: at("wit"),
  world: "service",
  jsPath: at("service.js"),
  jsSource: await readFile(at("service.js"), "utf8"),
  moduleRoot: at("."),
  // Hosts call components synchronously.
  sync: true,
  // Imports from the host are those of the world and no others.
  stubWasi: true,
});

await mkdir(target, { recursive: true });
const docs = section("rialto:wit", await readFile(at("wit/world.wit")));
await writeFile(`${target}component.wasm`, Buffer.concat([component, docs]));
await copyFile(at("service.toml"), `${target}service.toml`);
console.log(`dist/{{name}}: ${component.length + docs.length} bytes`);

// Hosts show the interface's comments to callers; they read them from a custom section of this name.
function section(name, content) {
  const body = Buffer.concat([length(name.length), Buffer.from(name), content]);
  return Buffer.concat([Buffer.from([0]), length(body.length), body]);
}

// A number as WebAssembly writes lengths: LEB128.
function length(number) {
  const bytes = [];
  for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
  return Buffer.from([...bytes, number]);
}
