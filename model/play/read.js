// What the training text holds of a passage, and what became of a URL.

import { ask, byId, chips, el, show } from "./parts.js";

const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const waiting = () => el("p", { className: "soft verdict", textContent: "Looking…" });

/** Looks for a text in the training text, and shows the part of the page that tells. */
export function look(text) {
  show("seen");
  byId("passage").value = text;
  return seek();
}

async function seek() {
  const place = byId("seen-result");
  place.replaceChildren(waiting());
  const response = await ask("api/seen", { text: byId("passage").value });
  place.replaceChildren(...(response ? seen(await response.json()) : []));
}

function seen(found) {
  if (found.n_tokens < found.n) {
    return [el("p", { className: "verdict", textContent: `That is ${count(found.n_tokens, "token")}; passages of ${found.n} and more are found.` })];
  }
  const where = `${found.n_corpus_tokens.toLocaleString("en")} training tokens`;
  if (!found.n_runs) {
    return [el("p", { className: "verdict no", textContent: `No. Nothing of ${found.n} tokens or more stands in the ${where}.` })];
  }
  const share = Math.round((100 * found.n_seen) / found.n_tokens);
  return [
    el("p", { className: "verdict yes", textContent: `Yes. ${share} % of it stands in ${count(found.n_documents, "training document")}, verbatim.` }),
    el("div", { className: "card quote", tabIndex: 0 }, ...found.pieces.map(({ text, seen }) => el(seen ? "mark" : "span", { textContent: text }))),
    el("p", { className: "facts", textContent: `${found.n_seen} of ${count(found.n_tokens, "token")} lie in ${count(found.n_runs, "passage")} of ${found.n} tokens or more; searched: ${where}. The longest of each document:` }),
    el("ol", { className: "documents" }, ...found.documents.map(card)),
  ];
}

function card(one) {
  const bar = el("i");
  bar.style.left = `${(100 * one.place) / one.n_document}%`;
  bar.style.width = `${(100 * one.n) / one.n_document}%`;
  const fate = el("button", { type: "button", className: "quiet", textContent: "Its fate" });
  fate.addEventListener("click", () => inquireAbout(one.doc_id));
  const steps = one.steps.length ? `read in ${count(one.steps.length, "training step")}: ${one.steps.slice(0, 8).join(", ")}${one.steps.length > 8 ? " …" : ""}` : "read in no training step";
  const more = one.n_runs > 1 ? ` · ${one.n_runs - 1} more in it` : "";
  return el("li", { className: "card" },
    el("h3", { textContent: one.title || "untitled" }),
    el("p", { className: "small soft mono", textContent: one.url || `document ${one.doc_id}, which has no URL` }),
    el("div", { className: "place", ariaHidden: "true" }, bar),
    el("p", { className: "facts", textContent: `${one.n} tokens, from token ${one.place.toLocaleString("en")} of ${one.n_document.toLocaleString("en")}${more} · ${steps}` }),
    el("div", { className: "excerpt", tabIndex: 0 }, `${one.cut_before ? "… " : ""}${one.before}`, el("mark", { textContent: one.match }), `${one.after}${one.cut_after ? " …" : ""}`),
    el("div", { className: "row" }, fate));
}

function inquireAbout(url) {
  show("fate");
  byId("url").value = url;
  scrollTo({ top: 0 });
  return inquire();
}

async function inquire() {
  const place = byId("fate-result");
  place.replaceChildren(waiting());
  const response = await ask("api/fate", { url: byId("url").value });
  place.replaceChildren(...(response ? fate(await response.json()) : []));
}

function fate(told) {
  const last = told.way.at(-1);
  const verdict = last.is_dropped ? `Dropped at ${last.stage}.` : last.told.startsWith("kept") ? "Kept, to the last stage." : `It got as far as ${last.stage}.`;
  const stops = told.way.map((stop) => el("li", { className: stop.is_dropped ? "dropped" : "" }, el("p", { className: "stage", textContent: stop.stage }), el("p", { className: "told", textContent: stop.told })));
  const ahead = told.ahead.map((stage) => el("li", { className: "ahead" }, el("p", { className: "stage", textContent: stage }), el("p", { className: "told", textContent: "not reached" })));
  const block = (title, ...children) => el("div", { className: "card" }, el("h3", { textContent: title }), ...children);
  const lines = (texts) => el("pre", { className: "mono", tabIndex: 0, textContent: texts.join("\n") });
  return [
    el("p", { className: `verdict ${last.is_dropped ? "yes" : "no"}`, textContent: verdict }),
    el("p", { className: "small soft mono", textContent: `${told.url || "no URL"} · document ${told.doc_id}` }),
    el("div", { className: "life" },
      el("ol", { className: "card way" }, ...stops, ...ahead),
      el("div", { className: "about" },
        ...(told.beginning ? [block("How it begins", lines([told.beginning]), el("div", { className: "row" }, goOn(told.beginning)))] : []),
        ...(told.runs.length ? [block("Training", lines(told.runs))] : []),
        block("Where it comes from", lines(told.origin)))),
  ];
}

function goOn(text) {
  const words = text.split(/(?<=\S)(?=\s)/).slice(0, 25).join("");
  const button = el("button", { type: "button", className: "quiet", textContent: "Let the model continue its first words" });
  button.addEventListener("click", () => document.dispatchEvent(new CustomEvent("continue", { detail: words })));
  return button;
}

/** Waits for questions, and offers some that have an answer. */
export async function startReading() {
  byId("seek").addEventListener("submit", (event) => (event.preventDefault(), seek()));
  byId("inquire").addEventListener("submit", (event) => (event.preventDefault(), inquire()));
  const response = await ask("api/examples");
  if (!response) return;
  const { passages, urls } = await response.json();
  const shortened = (text) => (text.length > 46 ? `${text.slice(0, 45)}…` : text);
  chips(byId("passages"), passages.map((value) => ({ label: shortened(value), value, title: value })), (value) => look(value));
  chips(byId("urls"), urls.map(({ url, end }) => ({ label: end, value: url, title: url })), (value) => inquireAbout(value));
}
