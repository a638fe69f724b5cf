"""The page in a real browser: no console message, no request, no overflow, attacks are text.

A page of our own, from the same loopback server, shows the report in frames of three widths and
looks into them; the report's own policy forbids it any script.
"""

import base64
import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import page, previous
from pipeline.report.figures import Curve
from pipeline.report.page import Config
from pipeline.report.previous import Run
from pipeline.report.river import HEAD_PX, LINE_PX
from tests import served
from tests.model.play.browser import ALONE, CHROMIUM
from tests.pipeline.report.world import HOSTILE, World

WIDTHS = (320, 360, 768, 1280)

PROBE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
const widths = %s, results = {};
function look(frame) {
  const doc = frame.contentDocument, root = doc.documentElement;
  const closed = doc.querySelectorAll("details:not([open])").length;
  doc.querySelectorAll("details:not([open]) > summary").forEach(summary => summary.click());
  const clips = element => element.closest(".scroll, pre, svg, .river") !== null;
  const outside = [...doc.querySelectorAll("body *")].filter(element =>
    element.getBoundingClientRect().right > root.clientWidth + 1 && !clips(element));
  const images = [...doc.querySelectorAll("figure img")];
  const box = element => element.getBoundingClientRect();
  const river = [...doc.querySelectorAll(".river > li")].map(li => ({
    drawn: box(li.querySelector("svg")).height, told: box(li).height,
    lines: [...li.querySelectorAll("ul > li")].map(line =>
      (box(line).top + box(line).bottom) / 2 - box(li.querySelector("svg")).top)}));
  return {
    scroll: root.scrollWidth, client: root.clientWidth, closed,
    stillClosed: doc.querySelectorAll("details:not([open])").length,
    outside: outside.map(element => element.outerHTML.slice(0, 120)),
    scripts: doc.scripts.length, title: doc.title,
    colour: frame.contentWindow.getComputedStyle(doc.body).backgroundColor,
    images: images.map(image => [image.complete, image.naturalWidth]),
    river, attacks: %s.map(text => doc.body.textContent.includes(text)),
    skips: [...doc.querySelectorAll("nav a")].every(a => doc.querySelector(a.getAttribute("href"))),
  };
}
let waiting = widths.length;
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `border:0;height:1000px;width:${width}px`;
  frame.onload = () => setTimeout(() => {
    results[width] = look(frame);
    if (--waiting === 0) {
      const pre = document.createElement("pre");
      pre.id = "result";
      pre.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(results))));
      document.body.append(pre);
    }
  }, 300);
  frame.src = "index.html";
  document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def browsed(
    world: World, config: Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """What the probe saw in light and dark, the console's messages, and all requests."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    curves = {"train/loss": Curve(name="train/loss", points=((10, 9.0), (400, 3.0)))}
    before = Run(curves=curves, facts={"train.lr": HOSTILE[4], HOSTILE[0]: 1})
    sources = dataclasses.replace(world.sources, before=folder / "kept")
    previous.keep(sources.before, before)
    page.run(sources, folder, dataclasses.replace(config, n_kept=60, n_dropped=4))
    attacks = json.dumps([attack[:100] for attack in HOSTILE if attack.isprintable()])
    (folder / "probe.html").write_text(
        PROBE % (json.dumps(WIDTHS), attacks.replace("<", "\\u003c"))
    )
    seen: list[str] = []

    class Recorder(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            seen.append(self.path)

    with served.http(partial(Recorder, directory=str(folder))) as url:
        address = f"{url}/probe.html"
        runs = [_browse(address, folder / f"profile-{mode}", mode) for mode in ("light", "dark")]
        yield {"light": runs[0], "dark": runs[1], "seen": seen}


def _browse(address: str, profile: Path, mode: str) -> dict[str, Any]:
    """Opens the probe and returns its result and what the console said."""
    command = [
        str(CHROMIUM),
        *ALONE,
        f"--user-data-dir={profile}",
        f"--blink-settings=preferredColorScheme={1 if mode == 'light' else 0}",
        "--window-size=1400,1000",
        "--virtual-time-budget=20000",
        "--enable-logging=stderr",
        "--dump-dom",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="result">([^<]+)</pre>', done.stdout)
    assert found, f"the probe gave no result: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {"widths": json.loads(base64.b64decode(found[1])), "console": console}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_console_stays_silent(browsed: dict[str, Any], mode: str) -> None:
    assert browsed[mode]["console"] == []


def test_page_asks_for_nothing_but_itself(browsed: dict[str, Any]) -> None:
    assert set(browsed["seen"]) == {"/probe.html", "/index.html"}


@pytest.mark.parametrize("width", WIDTHS)
def test_page_never_scrolls_sideways_even_with_everything_open(
    browsed: dict[str, Any], width: int
) -> None:
    told = browsed["light"]["widths"][str(width)]
    assert told["outside"] == []
    assert told["scroll"] <= told["client"] <= width


def test_summaries_open_and_anchors_lead_somewhere(browsed: dict[str, Any]) -> None:
    told = browsed["light"]["widths"]["360"]
    assert told["closed"] >= 8
    assert told["stillClosed"] == 0
    assert told["skips"] is True


def test_attacks_are_text_and_run_nothing(browsed: dict[str, Any]) -> None:
    told = browsed["light"]["widths"]["1280"]
    assert told["scripts"] == 0
    assert told["title"] == "Outbound: what this run built"
    assert all(told["attacks"])
    assert len(told["attacks"]) >= 4


def test_curves_are_drawn_for_each_screen_and_colour_scheme(browsed: dict[str, Any]) -> None:
    for mode in ("light", "dark"):
        for width in ("360", "1280"):
            images = browsed[mode]["widths"][width]["images"]
            assert len(images) == 3  # curves, losses by size, scores by size
            assert all(complete and width > 100 for complete, width in images)
    assert browsed["light"]["widths"]["360"]["colour"] != browsed["dark"]["widths"]["360"]["colour"]


@pytest.mark.parametrize("width", WIDTHS)
def test_river_has_no_gap_and_ribbons_meet_their_lines(browsed: dict[str, Any], width: int) -> None:
    """Each stretch is as high as its text, so that the next one begins where it ends."""
    for reach in browsed["light"]["widths"][str(width)]["river"]:
        assert abs(reach["drawn"] - reach["told"]) < 1
        for number, middle in enumerate(reach["lines"]):
            assert abs(middle - (HEAD_PX + LINE_PX * (number + 0.5))) < 1
