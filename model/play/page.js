// The page begins: its tabs, then what the server can tell.

import { ask, show, tabs } from "./parts.js";
import { startReading } from "./read.js";
import { startWriting } from "./write.js";

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => show(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) show(tabs[(i + step + tabs.length) % tabs.length].getAttribute("aria-controls"), true);
  });
}

const here = location.hash.slice(1);
if (tabs.some((tab) => tab.getAttribute("aria-controls") === here)) show(here);
const [about] = await Promise.all([ask("api/about"), startReading()]);
if (about) startWriting(await about.json());
document.documentElement.dataset.ready = "yes";
