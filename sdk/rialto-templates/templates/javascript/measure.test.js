import assert from "node:assert/strict";
import { test } from "node:test";

import { measure } from "./measure.js";

test("words are counted", () => {
  const found = measure({ text: " to measure\nis to know ", wordsPerMinute: 100 });
  assert.deepEqual(found, { words: 5, longest: "measure", readingSeconds: 3 });
});

test("readers read 200 words a minute unless the caller knows better", () => {
  assert.equal(measure({ text: "one two" }).readingSeconds, 0.6);
});

test("what cannot be measured is refused with the reason", () => {
  assert.throws(
    () => measure({ text: " \n" }),
    (error) => error === "`text` has no words",
  );
  assert.throws(
    () => measure({ text: "word", wordsPerMinute: 0 }),
    (error) => error.startsWith("`words_per_minute` is 0"),
  );
});
