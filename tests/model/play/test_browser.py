"""The page in a real browser: it works, keeps to itself, fits, and shows attacks as text."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from model.play.server import FILES, Playground
from tests.model.play.browser import CHROMIUM, Page, browser
from tests.pipeline.report.world import HOSTILE

WIDTHS = (320, 360, 768, 1280)
OUTSIDE = """[...document.querySelectorAll("body *")].filter(each =>
    each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && !each.closest(".skip")).map(each => each.outerHTML.slice(0, 120))"""
FITS = f"""({{outside: {OUTSIDE}, scroll: document.documentElement.scrollWidth,
    client: document.documentElement.clientWidth}})"""
COLOUR = "getComputedStyle(document.body).backgroundColor"
WRITTEN = (
    "document.getElementById('go').textContent === 'Continue'"
    " && document.querySelector('.stats .link') !== null"
)


def text_of(selector: str) -> str:
    return f"document.querySelector('{selector}').textContent"


async def write(page: Page, prompt: str) -> dict[str, Any]:
    """Continues a prompt and looks at what the page shows of it."""
    script = "document.getElementById('prompt').value = {}; document.getElementById('go').click()"
    await page.run(script.format(repr(prompt)))
    await page.until(WRITTEN)
    return {
        "panels": await page.run("document.querySelectorAll('.panel').length"),
        "given": await page.run(
            "[...document.querySelectorAll('.panel:first-child .given')]"
            ".map(each => each.textContent).join('')"
        ),
        "new": await page.run(
            "document.querySelectorAll('.panel:first-child .tok:not(.given)').length"
        ),
        "others": await page.run("document.querySelectorAll('.panel:first-child li').length"),
        "stats": await page.run(text_of(".stats")),
        "fits": await page.run(FITS),
    }


async def branch(page: Page) -> dict[str, Any]:
    """Chooses a token by the keyboard, then goes on from another one that could stand there."""
    await page.run("document.querySelector('.panel .text').focus()")
    for _ in range(3):
        for kind in ("keyDown", "keyUp"):
            await page.send("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft")
    chosen = await page.run("document.querySelector('.tok.on').textContent")
    label = await page.run(
        "(() => { const row = document.querySelector('.inspector li:not(.taken) button:enabled');"
        " row.click(); return row.querySelector('.label').textContent; })()"
    )
    await page.until(WRITTEN)
    return {
        "chosen": chosen,
        "label": label,
        "prompt": await page.run("document.getElementById('prompt').value"),
    }


async def look(page: Page, text: str) -> dict[str, Any]:
    """Asks whether a text was seen, then for the fate of the first document that has it."""
    await page.run("document.getElementById('tab-seen').click()")
    await page.run("document.getElementById('seen-result').replaceChildren()")
    await page.run(f"document.getElementById('passage').value = {text!r}")
    await page.run("document.querySelector('#seek').requestSubmit()")
    await page.until("document.querySelector('#seen-result .documents') !== null")
    told = {
        "verdict": await page.run(text_of("#seen-result .verdict")),
        "marked": await page.run(text_of(".quote")),
        "tags": await page.run(
            "[...new Set([...document.querySelectorAll('#seen-result *')].map(e => e.tagName))]"
        ),
        "documents": await page.run(text_of(".documents")),
        "seen_fits": await page.run(FITS),
    }
    await page.run("document.querySelector('.documents .quiet').click()")
    await page.until("document.querySelector('#fate-result .way') !== null")
    return {
        **told,
        "fate": await page.run(text_of("#fate-result .verdict")),
        "fate_fits": await page.run(FITS),
    }


async def visit(playground: Playground, folder: Path) -> dict[str, Any]:
    async with TestServer(playground.app()) as server, browser(folder) as page:
        address = str(server.make_url("/"))
        told: dict[str, Any] = {"address": address, "widths": {}}
        for width in WIDTHS:
            await page.resize(width, dark=width == 768)
            await page.open(address)
            told["widths"][width] = {
                "colour": await page.run(COLOUR),
                **await write(page, f"The pool keeps {HOSTILE[0]}"),
                **await look(page, HOSTILE[1] + " Page 1. The pool keeps one worker per core"),
            }
        await page.run("document.getElementById('tab-write').click()")
        told["branch"] = await branch(page)
        await page.run("document.getElementById('tab-fate').click()")
        await page.run("document.getElementById('url').value = 'no address'")
        told["console_before"] = list(page.console)
        await page.run("document.querySelector('#inquire').requestSubmit()")
        await page.until("!document.getElementById('alarm').hidden")
        told["alarm"] = await page.run(text_of("#alarm"))
        told["title"] = await page.run("document.title")
        told["markup"] = await page.run(
            "(() => { try { document.body.innerHTML = '<p>'; return 'made'; }"
            " catch (error) { return error.name; } })()"
        )
        told["requests"] = page.requests
        return told


@pytest.fixture(scope="module")
def told(playground: Playground, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return asyncio.run(visit(playground, tmp_path_factory.mktemp("browser")))


def test_console_stays_silent(told: dict[str, Any]) -> None:
    assert told["console_before"] == []


def test_page_asks_nobody_but_its_own_server(told: dict[str, Any]) -> None:
    paths = {address.removeprefix(told["address"]) for address in told["requests"]}
    api = {f"api/{name}" for name in ("about", "examples", "continue", "seen", "fate")}
    assert paths == {path.removeprefix("/") for path in FILES} | api


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_stands_outside_of_the_screen(told: dict[str, Any], width: int) -> None:
    for name in ("fits", "seen_fits", "fate_fits"):
        found = told["widths"][width][name]
        assert found["outside"] == []
        assert found["scroll"] <= found["client"] <= width


def test_prompt_and_new_tokens_are_shown_with_what_else_could_stand(told: dict[str, Any]) -> None:
    found = told["widths"][1280]
    assert found["given"] == f"The pool keeps {HOSTILE[0]}"
    assert found["new"] >= 1
    assert found["others"] >= 5
    assert "perplexity" in found["stats"]


def test_two_checkpoints_stand_side_by_side_where_there_is_room(told: dict[str, Any]) -> None:
    assert {width: told["widths"][width]["panels"] for width in WIDTHS} == {
        320: 1,
        360: 1,
        768: 1,
        1280: 2,
    }


def test_seen_text_is_marked_and_its_document_tells_its_fate(told: dict[str, Any]) -> None:
    found = told["widths"][360]
    assert found["verdict"].startswith("Yes.")
    assert "from token" in found["documents"]
    assert found["fate"] == "Kept, to the last stage."


def test_attacks_are_text(told: dict[str, Any]) -> None:
    """In the prompt, in the question, in documents and in their titles."""
    found = told["widths"][1280]
    assert found["marked"].startswith(HOSTILE[1])
    assert not {"SCRIPT", "IMG", "SVG"} & {tag.upper() for tag in found["tags"]}
    assert told["title"] == "Outbound: playground"
    assert told["markup"] == "TypeError"


def test_another_token_is_taken_and_the_text_goes_on_from_it(told: dict[str, Any]) -> None:
    found = told["branch"]
    typed = found["prompt"].replace(" ", "·").replace("\n", "↵").replace("\t", "⇥")
    assert found["label"] != found["chosen"]
    assert typed.endswith(found["label"])


def test_failure_is_told_on_the_page(told: dict[str, Any]) -> None:
    assert told["alarm"] == "'no address' is no URL; expected an absolute http(s) URL"


def test_light_and_dark_differ(told: dict[str, Any]) -> None:
    assert told["widths"][360]["colour"] != told["widths"][768]["colour"]
