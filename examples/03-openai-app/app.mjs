// Answers a question from a few notes: embeds them, takes the nearest, and lets a chat model say it.
//
//     OPENAI_BASE_URL=… OPENAI_API_KEY=… node app.mjs QUESTION

import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.RIALTO_NODE_MODULES, "..", "app.cjs"));
const OpenAI = require("openai").default;

const notes = [
  "The library is closed on Mondays.",
  "The bakery at the corner sells bread until six.",
  "Swimmers find the lake warmest in August.",
  "Trains to the coast leave every hour.",
];
const question = process.argv[2];
const client = new OpenAI();

const { data } = await client.embeddings.create({ model: "embed", input: [question, ...notes] });
const [asked, ...known] = data.map((row) => row.embedding);
const alike = (one, other) => one.reduce((sum, value, at) => sum + value * other[at], 0);
const nearest = known
  .map((vector, at) => ({ note: notes[at], like: alike(asked, vector) }))
  .sort((one, other) => other.like - one.like)[0];
console.log(`nearest  ${nearest.note} (${nearest.like.toFixed(2)})`);

process.stdout.write("answer  ");
const answer = await client.chat.completions.create({
  model: "chat",
  stream: true,
  temperature: 0,
  max_completion_tokens: 40,
  messages: [
    { role: "system", content: "Answer in one short sentence, from the note alone." },
    { role: "user", content: `Note: ${nearest.note}\nQuestion: ${question}` },
  ],
});
for await (const piece of answer) process.stdout.write(piece.choices[0]?.delta?.content ?? "");
process.stdout.write("\n");
