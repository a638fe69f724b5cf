// Continuing a prompt: controls, one panel per model, tokens that come one by one, and what else could
// have stood at each place.

import { ask, byId, chips, complain, el, show } from "./parts.js";
import { look } from "./read.js";

const CLASSES = [1, 3, 5, 8, 12]; // bits of surprise at which the tint grows
const ENDS = { length: "at its length", end: "by the model itself", stop: "at a stop string" };
const numbers = ["top_k", "n_new", "seed"];

const percent = (p) => (p >= 0.9995 ? "100 %" : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : p > 0 ? "< 0.1 %" : "0 %");
const bits = (p) => -Math.log2(Math.max(p, 1e-30));
const visible = (label) => label.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "·");

/** One model's answer. */
class Panel {
  constructor({ models, corpus }, chosen, branch) {
    this.models = models;
    this.hasCorpus = corpus;
    this.branch = branch;
    this.select = el("select", { ariaLabel: "Model" }, ...models.map(({ name }) => el("option", { value: name, textContent: name })));
    this.select.value = chosen;
    this.facts = el("p", { className: "facts" });
    this.text = el("div", { className: "text", tabIndex: 0, role: "group", ariaLabel: "Tokens; arrow keys choose one" });
    this.stats = el("div", { className: "stats" });
    this.inspector = el("div", { className: "inspector", hidden: true });
    this.root = el("article", { className: "card panel" }, el("div", { className: "head" }, this.select, this.facts), this.text, this.stats, this.inspector);
    this.select.addEventListener("change", () => this.describe());
    this.text.addEventListener("click", (event) => this.choose(event.target));
    this.text.addEventListener("keydown", (event) => this.move(event));
    this.clear("The continuation will stand here, token by token.");
    this.describe();
  }

  clear(message) {
    this.tokens = [];
    this.chosen = -1;
    this.lost = "";
    this.isPinned = false;
    this.why = "";
    this.seconds = 0;
    this.text.replaceChildren(message ? el("span", { className: "empty", textContent: message }) : "");
    this.stats.replaceChildren();
    this.inspector.hidden = true;
  }

  describe(start) {
    const { note } = this.models.find(({ name }) => name === this.select.value);
    const size = start ? [`${(start.n_parameters / 1e6).toFixed(1)} M parameters`, `context ${start.n_ctx}`] : [];
    const lost = start?.n_lost ? [`${start.n_lost} tokens of the prompt are outside of it`] : [];
    this.facts.textContent = [note, ...size, ...lost].filter(Boolean).join(" · ") || "as trained";
  }

  async run(request, signal) {
    this.clear("");
    const cursor = el("span", { className: "cursor" });
    this.text.append(cursor);
    const response = await ask("api/continue", { ...request, model: this.select.value }, signal);
    try {
      if (response) await this.follow(response, cursor);
    } catch (error) {
      if (error.name !== "AbortError") complain("The answer broke off.");
    } finally {
      cursor.remove();
      this.summarize();
    }
    if (this.hasCorpus && this.new().length) await this.recognize(signal);
  }

  async follow(response, cursor) {
    let rest = "";
    this.began = performance.now();
    for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done && !this.why) throw new Error("no end");
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) this.take(JSON.parse(line), cursor);
    }
  }

  take(event, cursor) {
    if (event.kind === "start") {
      this.describe(event);
      this.lost = event.lost;
      if (event.lost) cursor.before(el("span", { className: "soft", textContent: event.lost }));
      for (const token of event.prompt) this.add({ ...token, isGiven: true }, cursor);
    } else if (event.kind === "token") {
      this.add(event, cursor);
      this.seconds = (performance.now() - this.began) / 1000;
      if (!this.isPinned) this.inspect(this.tokens.length - 1);
      this.text.scrollTop = this.text.scrollHeight;
    } else {
      this.why = event.why;
    }
  }

  add(token, cursor) {
    const surprise = CLASSES.filter((least) => bits(token.p) >= least).length;
    const span = el("span", { className: `tok s${surprise}`, textContent: token.is_end ? "" : token.text });
    span.classList.toggle("given", Boolean(token.isGiven));
    span.classList.toggle("nl", /^\n/.test(token.text));
    span.classList.toggle("over", Boolean(token.is_end));
    span.classList.toggle("bytes", !token.text && !token.is_end);
    span.title = percent(token.p);
    this.tokens.push({ ...token, span });
    cursor.before(span);
  }

  new() {
    return this.tokens.filter((token) => !token.isGiven);
  }

  summarize() {
    const made = this.new();
    if (!made.length) return;
    const mean = made.reduce((sum, { p }) => sum + bits(p), 0) / made.length;
    const fact = (value, name) => el("span", {}, el("b", { textContent: value }), ` ${name}`);
    this.stats.replaceChildren(
      fact(made.length, made.length === 1 ? "token" : "tokens"),
      fact((made.length / this.seconds).toFixed(0), "tokens/s"),
      fact((2 ** mean).toFixed(1), "perplexity"),
      el("span", { textContent: `ended ${ENDS[this.why] ?? "by you"}` }),
    );
  }

  /** Underlines what the training text has verbatim. */
  async recognize(signal) {
    const whole = this.tokens.map(({ text }) => text).join("");
    const response = await ask("api/seen", { text: whole }, signal);
    if (!response) return;
    const found = await response.json();
    const known = found.pieces.flatMap(({ text, seen }) => Array(text.length).fill(seen));
    if (known.length !== whole.length) return; // a codec that changes case or blanks
    let at = 0;
    for (const { text, span } of this.tokens) {
      span.classList.toggle("known", text.length > 0 && known.slice(at, at + text.length).some(Boolean));
      at += text.length;
    }
    const n = this.new().filter(({ span }) => span.classList.contains("known")).length;
    const link = el("button", { type: "button", className: "link", textContent: n ? `${n} new tokens stand in the training text: where?` : "nothing of it is verbatim training text" });
    link.addEventListener("click", () => look(whole));
    this.stats.append(link);
  }

  choose(target) {
    const i = this.tokens.findIndex(({ span }) => span === target);
    if (i < 0) return;
    this.isPinned = true;
    this.inspect(i);
  }

  move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !this.tokens.length) return;
    event.preventDefault();
    this.isPinned = true;
    this.inspect(Math.min(Math.max(this.chosen + step, 0), this.tokens.length - 1));
    this.tokens[this.chosen].span.scrollIntoView({ block: "nearest" });
  }

  inspect(i) {
    this.tokens[this.chosen]?.span.classList.remove("on");
    this.chosen = i;
    const token = this.tokens[i];
    token.span.classList.add("on");
    const before = this.lost + this.tokens.slice(0, i).map(({ text }) => text).join("");
    const listed = token.others.some(({ id }) => id === token.id) ? token.others : [...token.others, token];
    const rank = token.rank === 0 ? "the likeliest" : `${(token.rank + 1).toLocaleString("en")}th likeliest`.replace(/\b(\d*)(?<!1)([123])th/, (_, tens, d) => `${tens}${d}${["st", "nd", "rd"][d - 1]}`);
    this.inspector.hidden = false;
    this.inspector.replaceChildren(
      el("p", { className: "what" }, el("b", { textContent: visible(token.label) }), ` is ${rank} here, ${bits(token.p).toFixed(1)} bits of surprise. Take another one to go on from there.`),
      el("div", { className: "columns", ariaHidden: "true" }, el("span", { textContent: "token" }), el("span"), el("span", { textContent: "model" }), el("span", { textContent: token.isGiven ? "" : "drawn from" })),
      el("ol", {}, ...listed.map((other) => this.candidate(other, token, before))),
    );
  }

  candidate(other, token, before) {
    const fill = (name, share) => {
      const bar = el("div", { className: `fill ${name}` });
      bar.style.width = `${100 * share}%`;
      return bar;
    };
    const track = el("div", { className: "track" }, fill("p", other.p), ...(other.share === null ? [] : [fill("share", other.share)]));
    const row = el("button", { type: "button", title: "go on from here with this token" },
      el("span", { className: "label", textContent: visible(other.label) }), track,
      el("span", { className: "pct", textContent: percent(other.p) }),
      el("span", { className: "pct soft", textContent: other.share === null ? "" : other.share ? percent(other.share) : "–" }));
    row.disabled = other.label.includes("‹") || other.label === "<|endoftext|>";
    row.addEventListener("click", () => this.branch(before + other.label));
    const item = el("li", {}, row);
    item.classList.toggle("taken", other.id === token.id);
    item.classList.toggle("out", other.share === 0);
    return item;
  }
}

/** Fills the controls and waits for a prompt. */
export function startWriting(about) {
  const field = Object.fromEntries(["prompt", "temperature", "top_p", "stop", "compare", "go", ...numbers].map((id) => [id, byId(id)]));
  if (!about.models.length) return complain("There is no model yet; make one with: dvc repro train");
  let running = null;
  const names = about.models.map(({ name }) => name);
  const branch = (prompt) => {
    field.prompt.value = prompt;
    run();
  };
  const panels = [names[0], names.at(-1)].map((name) => new Panel(about, name, branch));
  field.n_new.max = about.max_new_tokens;
  field.n_new.value = Math.min(field.n_new.value, about.max_new_tokens);
  field.compare.checked = names.length > 1 && innerWidth >= 900;

  const arrange = () => byId("panels").replaceChildren(...panels.slice(0, field.compare.checked ? 2 : 1).map(({ root }) => root));
  const adopt = (how) => {
    field.temperature.value = how.temperature;
    field.top_k.value = how.top_k ?? "";
    field.top_p.value = how.top_p ?? 1;
    refresh();
  };
  const methods = chips(byId("methods"), Object.entries(about.methods).map(([label, value]) => ({ label, value })), adopt);
  const settings = () => ({
    temperature: Number(field.temperature.value),
    top_k: field.top_k.value === "" ? null : Number(field.top_k.value),
    top_p: Number(field.top_p.value) === 1 ? null : Number(field.top_p.value),
  });
  function refresh() {
    byId("temperature-shown").textContent = Number(field.temperature.value).toFixed(2);
    byId("top_p-shown").textContent = Number(field.top_p.value) === 1 ? "all" : Number(field.top_p.value).toFixed(2);
    const now = JSON.stringify(settings());
    methods.forEach((chip, i) => chip.setAttribute("aria-pressed", String(JSON.stringify(Object.values(about.methods)[i]) === now)));
  }
  async function run() {
    running?.abort();
    const mine = (running = new AbortController());
    field.go.textContent = "Stop";
    field.go.classList.add("stop");
    const stop = field.stop.value.replaceAll("\\n", "\n").replaceAll("\\t", "\t");
    const request = { ...settings(), prompt: field.prompt.value, seed: Number(field.seed.value), n_new: Number(field.n_new.value), stops: stop ? [stop] : [] };
    const active = panels.slice(0, field.compare.checked ? 2 : 1);
    await Promise.all(active.map((panel) => panel.run(request, mine.signal)));
    if (running === mine) settle();
  }
  function settle() {
    running = null;
    field.go.textContent = "Continue";
    field.go.classList.remove("stop");
  }
  chips(byId("prompts"), about.prompts.map((value) => ({ label: value || "from the beginning", value })), (value) => {
    field.prompt.value = value;
    field.prompt.focus();
  });
  byId("dice").addEventListener("click", () => (field.seed.value = Math.floor(Math.random() * 1e6)));
  field.compare.addEventListener("change", arrange);
  for (const name of ["temperature", "top_p", "top_k"]) field[name].addEventListener("input", refresh);
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) return run();
    running.abort();
    settle();
  });
  document.addEventListener("continue", ({ detail }) => {
    show("write");
    field.prompt.value = detail;
    run();
  });
  field.prompt.value = about.prompts.find(Boolean) ?? "";
  arrange();
  adopt(about.methods[about.method]);
}
