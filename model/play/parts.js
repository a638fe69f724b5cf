// What the page's parts share. Text from elsewhere becomes text, never markup.

const alarm = document.getElementById("alarm");
export const tabs = [...document.querySelectorAll("[role=tab]")];

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
export function el(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function complain(message) {
  alarm.textContent = message;
  alarm.hidden = !message;
}

/** Asks the server; returns the response, or says what is wrong and returns null. */
export async function ask(path, body, signal) {
  complain("");
  try {
    const response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
    if (response.ok) return response;
    complain(told(await response.text()));
  } catch (error) {
    if (error.name !== "AbortError") complain("The playground does not answer. Is `make play` still running?");
  }
  return null;
}

function told(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return text;
  }
}

/** Shows a part of the page; `write`, `seen` or `fate`. */
export function show(name, focused = false) {
  for (const tab of tabs) {
    const mine = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !mine;
    if (mine && focused) tab.focus();
  }
  history.replaceState(null, "", `#${name}`);
}

/** A row of examples; each fills in a question. */
export function chips(place, examples, take) {
  const made = examples.map(({ label, value, title }) => {
    const chip = el("button", { type: "button", textContent: label, title: title ?? label });
    chip.addEventListener("click", () => take(value, chip));
    return chip;
  });
  place.replaceChildren(...made);
  return made;
}
