// Tries JavaScript's bindings, and every way to misbehave. In place of the template's own service.

import context from "rialto:service/context@0.1.0";
import log from "rialto:service/log@0.1.0";
import operations from "rialto:tensor/operations@0.1.1";
import tensors from "rialto:tensor/tensors@0.1.1";

let calls = 0;

class Steps {
  constructor(left, stop) {
    this.left = left;
    this.stop = stop;
  }

  next() {
    if (this.left === this.stop) throw `no further than ${this.stop}`;
    return this.left < 0 ? undefined : this.left--;
  }
}

export const trials = {
  echo: (values) => values,
  refuse(point) {
    throw { tag: "polygon", val: [point] };
  },
  fail() {
    throw new Error("a failure of its own");
  },
  spin() {
    for (;;);
  },
  grow() {
    for (const kept = []; ; ) kept.push(new Uint8Array(1 << 20).fill(1));
  },
  recurse: (depth) => 1 + trials.recurse(depth + 1),
  tell: (letters) => "x".repeat(letters),
  count: () => ++calls,
  Steps,
  down(start, stop) {
    if (start < 0) throw "`start` is below nought";
    return new Steps(start, stop);
  },
  say(message) {
    log.write("info", message);
    return context.callId();
  },
  double(values) {
    const { buffer } = new Float32Array(values);
    try {
      const once = tensors.Tensor.fromBytes("f32", [values.length], new Uint8Array(buffer));
      const bytes = operations.binary("add", once, once).read(0, buffer.byteLength);
      return Array.from(new Float32Array(Uint8Array.from(bytes).buffer));
    } catch (error) {
      throw `${error.tag}: ${error.val}`;
    }
  },
};
