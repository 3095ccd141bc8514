// Sends what is in a form and shows the answer. This page has no wallet: a method that costs
// answers with its price and how to pay it.
"use strict";

function shown(status, text) {
  let body = text;
  try {
    const value = JSON.parse(text);
    if (status === 402) {
      const ways = value.accepts.map((way) => `${way.scheme} on ${way.network}`).join(", or ");
      return `${value.detail.message}\nPay with ${ways}.\nThe command above does it for you.`;
    }
    body = JSON.stringify(value, null, 2);
  } catch (_) {
    // Not JSON: show it as it came.
  }
  return `HTTP ${status}\n${body}`;
}

for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const output = form.querySelector("output");
    const file = form.elements.file?.files[0];
    output.textContent = "…";
    try {
      const response = await fetch(form.dataset.path, {
        method: "POST",
        headers: { "content-type": file ? "application/octet-stream" : "application/json" },
        body: file ?? form.elements.body.value,
      });
      output.textContent = shown(response.status, await response.text());
    } catch (error) {
      output.textContent = String(error);
    }
  });
}
