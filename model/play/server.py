"""The playground's server: this machine alone, one page, its own requests only.

    GET /                 the page; page.css, page.js
    GET /api/about        models, methods, limits
    GET /api/examples     questions that have an answer
    POST /api/continue    a prompt; the answer is a JSON object per line, as tokens come
    POST /api/seen        a text
    POST /api/fate        a URL or a document id

Decisions
- It listens on 127.0.0.1. A name that points there by DNS rebinding carries a Host header of its
  own, and any but ours is refused.
- A page of another origin can neither read (no CORS header) nor write: Origin and Sec-Fetch-Site
  must be ours, and a body must be JSON, which no form can send.
- The page's policy allows its own files and nothing else: no inline script or style, no frame, no
  address elsewhere, and no text can become markup (Trusted Types without a policy).
- Models compute in threads, one call per token: a page that went away stops its text there.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from aiohttp import web

from model.play import answer
from model.play.checkpoints import Shelf
from model.play.corpus import Corpus
from model.sample import Settings
from pipeline.store.config import require
from pipeline.store.errors import CheckpointError, ManifestError, ShardError

HOST = "127.0.0.1"
SCRIPTS = ("page.js", "parts.js", "write.js", "read.js")
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}": (name, "text/javascript") for name in SCRIPTS},
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATED = (ValueError, RecursionError, OSError, ManifestError, ShardError, CheckpointError)
_HERE = Path(__file__).parent
N_THREADS = 2  # two models side by side

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the playground offers.

    Attributes:
        port: On 127.0.0.1; 0 takes a free one.
        n_models: Models that stay in memory.
        n_others: Likeliest tokens told at each place.
        max_new_tokens: A continuation may have.
        max_text_bytes: Of a request.
        n_documents: Told of a passage.
    """

    port: int
    n_models: int
    n_others: int
    max_new_tokens: int
    max_text_bytes: int
    n_documents: int

    def __post_init__(self) -> None:
        require("port", self.port, 0 <= self.port <= 65_535, "0 <= x <= 65535")
        for name in ("n_models", "n_others", "max_new_tokens", "max_text_bytes", "n_documents"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "x >= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Playground:
    """What answers.

    Attributes:
        config: Section `play` of params.yaml.
        shelf: The models.
        corpus: The run's data.
        methods: Settings by name, as `sample` uses them.
        method: The one to begin with.
        prompts: Beginnings that are offered.
        pool: Where work is done.
    """

    config: Config
    shelf: Shelf
    corpus: Corpus
    methods: dict[str, Settings]
    method: str
    prompts: tuple[str, ...]
    pool: ThreadPoolExecutor

    def app(self) -> web.Application:
        """Returns the application."""
        made = web.Application(middlewares=[guard], client_max_size=self.config.max_text_bytes)
        made.router.add_get("/api/about", self._about)
        made.router.add_get("/api/examples", self._examples)
        made.router.add_post("/api/continue", self._continue)
        made.router.add_post("/api/seen", self._seen)
        made.router.add_post("/api/fate", self._fate)
        for path in FILES:
            made.router.add_get(path, _file)
        return made

    async def _about(self, _request: web.Request) -> web.Response:
        entries = self.shelf.entries.values()
        return web.json_response(
            {
                "models": [{"name": entry.name, "note": entry.note} for entry in entries],
                "methods": {name: asdict(how) for name, how in self.methods.items()},
                "method": self.method,
                "prompts": self.prompts,
                "corpus": self.corpus.is_there,
                "max_new_tokens": self.config.max_new_tokens,
            }
        )

    async def _examples(self, _request: web.Request) -> web.Response:
        return web.json_response(await self._away(self.corpus.examples))

    async def _seen(self, request: web.Request) -> web.Response:
        text = answer.text_of(await _body(request), "text")
        n = self.config.n_documents
        return web.json_response(await self._away(lambda: self.corpus.seen(text, n)))

    async def _fate(self, request: web.Request) -> web.Response:
        url = answer.text_of(await _body(request), "url")
        return web.json_response(await self._away(lambda: self.corpus.fate(url)))

    async def _continue(self, request: web.Request) -> web.StreamResponse:
        """Writes a line per event; what is wrong with the request shows before the first."""
        ask = answer.ask_of(await _body(request), self.config.max_new_tokens)
        loaded = await self._away(lambda: self.shelf.get(ask.model))
        events = answer.answer(ask, loaded, self.config.n_others)
        event: answer.Event | None = await self._away(lambda: next(events))
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", **HEADERS})
        await response.prepare(request)
        try:
            while event is not None:
                await response.write(json.dumps(event).encode() + b"\n")
                event = await self._away(lambda: next(events, None))
        except ConnectionResetError:  # the page went away
            return response
        finally:
            events.close()
        await response.write_eof()
        return response

    async def _away(self, work: Callable[[], Result]) -> Result:
        """Does work in a thread, so that the page's other requests are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)


async def _body(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise ValueError(f"the body is {request.content_type}; expected application/json")
    return json.loads(await request.read())


async def _file(request: web.Request) -> web.Response:
    name, content_type = FILES[request.path]
    text = (_HERE / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=content_type, charset="utf-8")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what our own page did not send; states failures; adds the headers."""
    refused = refusal(request)
    try:
        response = web.Response(status=403, text=refused) if refused else await handler(request)
    except web.HTTPException as error:
        response = web.json_response({"error": error.reason}, status=error.status)
    except _STATED as error:
        response = web.json_response({"error": str(error)}, status=400)
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


def refusal(request: web.Request) -> str:
    """Returns why a request is not from this server's own page; "" if it may be."""
    port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
    ours = {f"{HOST}:{port}", f"localhost:{port}"}
    host = request.headers.get("Host", "").lower()
    if host not in ours:
        return f"Host is {host!r}; expected {HOST}:{port}"
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{host}":
        return f"Origin is {origin!r}; expected http://{host}"
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("none", "same-origin") and request.path.startswith("/api/"):
        return f"Sec-Fetch-Site is {site!r}; expected same-origin"
    return ""


def serve(playground: Playground, announce: Callable[[str], None]) -> None:
    """Answers until it is interrupted.

    The cores are shared out among the models that answer side by side. With all cores for each, a
    small model's threads wait for each other: 24 tokens/s on a busy 2-core machine, and 162 so.

    Args:
        playground: What answers.
        announce: Is told the address once it answers.

    Raises:
        OSError: If the port is taken.
    """
    torch.set_num_threads(max(1, torch.get_num_threads() // N_THREADS))
    asyncio.run(_serve(playground, announce))


async def _serve(playground: Playground, announce: Callable[[str], None]) -> None:
    runner = web.AppRunner(playground.app(), access_log=None)
    await runner.setup()
    port = playground.config.port
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        raise OSError(
            f"port {port} of {HOST} cannot be had ({error.strerror}); set another play.port in "
            "params.yaml, or 0 for a free one"
        ) from error
    try:
        announce(f"http://{HOST}:{runner.addresses[0][1]}/")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
