// What the service computes. Nothing here knows of the host: `npm test` runs it in Node.

const WORDS_PER_MINUTE = 200;

/** Counts the words of `document.text`; throws the text of the error that the caller gets. */
export function measure(document) {
  const words = document.text.split(/\s+/).filter((word) => word !== "");
  const wordsPerMinute = document.wordsPerMinute ?? WORDS_PER_MINUTE;
  if (words.length === 0) throw "`text` has no words";
  if (wordsPerMinute === 0) throw "`words_per_minute` is 0: nobody would finish";
  return {
    words: words.length,
    longest: words.reduce((longest, word) => (length(word) > length(longest) ? word : longest)),
    readingSeconds: (words.length * 60) / wordsPerMinute,
  };
}

/** Counts characters, not UTF-16 units. */
const length = (word) => [...word].length;
