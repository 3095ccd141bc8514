// The component's way in and out: an object named like each exported interface, with its functions,
// and an import for each imported one. Names are in camelCase here and in kebab-case in wit/world.wit.

import log from "rialto:service/log@0.1.0";

import { measure } from "./measure.js";

export const texts = {
  // A function that returns a `result` returns the value, or throws the error.
  measure(document) {
    const found = measure(document);
    log.write("info", `measured ${found.words} words`);
    return found;
  },
};
