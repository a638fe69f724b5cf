"""A small finished run, written by the store's own writers, with hostile text everywhere."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from model.capacity import figures
from model.training.lineage import Trained
from pipeline.report.page import Sources
from pipeline.store import ledger, manifest, records
from pipeline.store.records import Drop
from pipeline.store.shards import ShardDraft, to_json
from pipeline.tokens.arrow import Vocabulary, write_shard
from stages import params
from tests.model.capacity.test_figures import LAW, ladder

HOSTILE = (
    '</script><script>document.title="owned"</script>',
    '<img src=x onerror="document.title=1">',
    '"><svg onload=alert(1)>{{ 7 * 7 }}',
    "\u202egnp.exe\u2066 </style></title><h1>big</h1>",
    "W" * 900,
    "Z\u0351\u036b\u0343\u0327" * 40 + "\x07\x1b[31m",
    "javascript:alert(1) &amp; &#x3c;b&#x3e;",
)
PROSE = (
    "The pool keeps one worker per core and hands out tasks in the order of their index. "
    "A worker that dies is replaced, its task is tried again, and the result is the same. "
    "Reading begins at the first byte that was not seen before and ends at the last full line. "
)
NO_DROP = Drop("", "")
SETTINGS = params.read()
VOCABULARY = Vocabulary("ab" * 32, 300, 299)
N_STEPS, LOG_EVERY = 400, 10
SPIKE = 310  # steps done when the spike was logged
LEFT_OUT = {33: "loss_spike", 34: "overflow", 35: "overflow"}
_STAGES = ("links", "crawl", "extract", "clean", "dedup", "decontaminate", "encode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A link and where it ends: past every stage if `end` is empty."""

    url: str
    title: str
    text: str
    end: str = ""
    drop: Drop = NO_DROP

    @property
    def doc_id(self) -> str:
        return records.doc_id(self.url)

    @property
    def host(self) -> str:
        return self.url.split("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The run's folders and what was put into them."""

    root: Path
    documents: tuple[Document, ...]

    @property
    def sources(self) -> Sources:
        return Sources(
            data=self.root / "data",
            metrics=self.root / "metrics",
            samples=self.root / "samples",
            params=self.root / "params.yaml",
            settings=SETTINGS,
            before=self.root / ".shards" / "report",
            training=Trained(
                tokens=self.root / "data" / "tokens",
                checkpoints=self.root / "models" / "checkpoints",
                settings=SETTINGS,
            ),
        )


def make_documents(n: int) -> tuple[Document, ...]:
    """Returns `n` good documents and one for each way to be dropped, some of them hostile."""
    good = [
        Document(
            url=f"http://{('numpy', 'ray', 'torch')[i % 3]}-manual.test/page/{i}",
            title=f"Page {i}" if i >= len(HOSTILE) else HOSTILE[i],
            text=f"{HOSTILE[i % len(HOSTILE)] if i < 14 else ''} Page {i}. {PROSE * (1 + i % 9)}",
        )
        for i in range(n)
    ]
    survivor = good[-1]
    drops = [
        ("links", Drop("low_karma", "score 2")),
        ("links", Drop("self_post", HOSTILE[0])),
        ("crawl", Drop("robots", "Disallow: /private")),
        ("crawl", Drop("http_404", HOSTILE[1])),
        ("extract", Drop("no_text", HOSTILE[3])),
        ("clean", Drop("language", "fr 0.99")),
        ("clean", Drop("too_short", HOSTILE[4])),
        ("dedup", Drop("duplicate_near", f"{survivor.doc_id} jaccard=0.8125")),
        ("dedup", Drop("duplicate_exact", f"{survivor.doc_id} jaccard=1.0000")),
    ]
    bad = [
        Document(
            url=f"http://torch-manual.test/{drop.reason}/{k}/{HOSTILE[k] if k < 3 else ''}",
            title=HOSTILE[k],
            text=survivor.text.replace("worker", f"{HOSTILE[k]} helper", 2),
            end=stage,
            drop=drop,
        )
        for stage, drop in drops
        for k in range(4)
    ]
    return (*good, *bad)


def rows_of(documents: Sequence[Document], schema: pa.Schema) -> pa.Table:
    """Returns documents in a stage's schema; what the report does not read is a plain filler."""
    fillers = {"int16": 1, "int32": 1, "int64": 1, "float": 0.0, "string": "en"}
    told = [
        {
            **{f.name: fillers.get(str(f.type)) for f in schema if f.name != "submissions"},
            "submissions": [],
            "opt_outs": [],
            "doc_id": d.doc_id,
            "url": d.url,
            "host": d.host,
            "domain": d.host,
            "title": d.title,
            "text": d.text,
            "n_words": len(d.text.split()),
            "outcome": d.drop.reason if d.end == "crawl" else "fetched",
        }
        for d in sorted(documents, key=lambda d: d.doc_id)
    ]
    return pa.Table.from_pylist(told, schema)


_SCHEMAS = {
    "links": records.LINKS,
    "crawl": records.FETCHES,
    "extract": records.PAGES,
    "clean": records.CLEAN,
    "dedup": records.UNIQUE,
    "decontaminate": records.CORPUS,
    "encode": pa.schema([records.CORPUS.field(name) for name in ("doc_id", "text")]),
}


def _write_tokens(path: Path, part: pa.Table) -> None:
    """Writes texts as tokens, one to four characters."""
    ids, texts = (part[name].to_pylist() for name in ("doc_id", "text"))
    tokens = [[7] * (len(text) // 4) + [VOCABULARY.eot_id] for text in texts]
    write_shard(path, ids, tokens, [len(text.encode()) for text in texts], VOCABULARY)


def write_stage(data: Path, stage: str, documents: Sequence[Document]) -> dict[str, Any]:
    """Writes a stage's folder from the documents that reach it; returns its counts."""
    place = next(p for p in ledger.PLACES if p.stage == stage)
    draft = ShardDraft(stage, data / ".shards" / stage)
    gone = [d for d in documents if d.end == stage]
    rest = [d for d in documents if d.end != stage]
    table = rows_of(documents if stage == "crawl" else rest, _SCHEMAS[stage])
    for name in [s or "part" for s in place.subfolders]:
        part = table if name == "part" else table[:-3] if name == "train" else table[-3:]
        if place.format == "parquet":
            draft.write_table(f"{name}.parquet", part)
        else:
            _write_tokens(draft.path(f"{name}.arrow"), part)
    draft.count_in(len(documents))
    draft.count_out(len(rest))
    for document in gone:
        draft.drop(document.doc_id, document.drop, "" if stage == "crawl" else document.text)
    shard = draft.commit(uuid.uuid4().hex, ())
    manifest.link_shards(data / place.folder, stage, [shard])
    dropped = dict(Counter(d.drop.reason for d in gone))
    return {"n_in": len(documents), "n_out": len(rest), "dropped": dropped}


def write_truth(data: Path, documents: Sequence[Document]) -> None:
    """Plants all dropped documents, and the first good one as one that must be kept."""
    planted = [d for d in documents if d.end] + [documents[0]]
    rows = [
        {
            "url": d.url,
            "doc_id": d.doc_id,
            "case": d.drop.reason or "mirror_survivor",
            "group": "",
            "expect_stage": d.end,
            "expect_reason": d.drop.reason or "kept",
        }
        for d in planted
    ]
    draft = ShardDraft("demo", data / ".shards" / "demo")
    draft.write_table("part.parquet", pa.Table.from_pylist(rows, records.TRUTH))
    draft.count_in(len(rows))
    draft.count_out(len(rows))
    shard = draft.commit(uuid.uuid4().hex, ())
    manifest.link_shards(data / "truth", "demo", [shard])


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_json(value))


def write_curve(folder: Path, name: str, values: Sequence[float]) -> None:
    path = folder / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{done}\t{value}\n" for done, value in logged(values))
    path.write_text(f"step\t{path.stem}\n{rows}")


def logged(values: Sequence[float]) -> list[tuple[int, float]]:
    """Returns steps done and values of a curve."""
    return [(LOG_EVERY * (number + 1), value) for number, value in enumerate(values)]


def write_checkpoint(root: Path, losses: Sequence[float]) -> None:
    """Writes what a run's last checkpoint says of itself, without its tensors."""
    about = {
        "model": SETTINGS["model"],
        "train": {**SETTINGS["train"], "steps": N_STEPS},
        "tokens_root": manifest.load(root / "data" / "tokens", "encode").root,
    }
    rows = [{"step": done, "train/loss": loss} for done, loss in logged(losses)]
    guard = {"skipped": [{"step": step, "kind": kind} for step, kind in LEFT_OUT.items()]}
    folder = root / "models" / "checkpoints" / "0123456789abcdef" / f"step-{N_STEPS:08d}"
    write_json(folder / "checkpoint.json", {"about": about, "rows": rows, "guard": guard})


def make_world(root: Path, n: int = 60) -> World:
    """Writes a whole run of `n` kept documents below `root`."""
    documents = make_documents(n)
    alive: Sequence[Document] = documents
    for stage in _STAGES:
        counts = write_stage(root / "data", stage, alive)
        alive = [d for d in alive if d.end != stage]
        extra = _MORE.get(stage, {})
        write_json(root / "metrics" / f"{stage}.json", {"counts": counts, **extra})
        write_json(root / "metrics" / "timings" / f"{stage}.json", {"seconds": 1.5, "workers": 2})
    write_json(root / "metrics" / "timings" / "train_speed.json", {"tokens_per_s": 10.0})
    write_json(root / "metrics" / "timings" / "report.json", {"seconds": 99.0})
    write_json(root / "metrics" / "report.json", {"n_bytes": 1})
    write_truth(root / "data", documents)
    write_json(root / "metrics" / "train.json", {"steps": N_STEPS, "skipped_steps": len(LEFT_OUT)})
    write_curves(root, make_losses())
    write_checkpoint(root, make_losses())
    write_json(root / "metrics" / "memorize.json", MEMORIZE)
    write_json(root / "metrics" / "scaling.json", make_scaling(len(LAW)))
    write_json(root / "metrics" / "evaluate.json", EVALUATE)
    write_json(root / "metrics" / "evaluate_protocols.json", PROTOCOLS)
    write_json(root / "samples" / "samples.json", {"samples": make_samples()})
    (root / "params.yaml").write_text("seed: 1  # </code><script>alert(1)</script>\n")
    return World(root=root, documents=documents)


def make_losses() -> list[float]:
    """Returns a training loss that falls, with one spike."""
    return [
        8.0 / (1 + number) ** 0.4 + (2.0 if done == SPIKE else 0.0)
        for number, (done, _) in enumerate(logged([0.0] * (N_STEPS // LOG_EVERY)))
    ]


def write_curves(root: Path, losses: Sequence[float]) -> None:
    """Writes the curves of a run as DVCLive does."""
    curves, n = root / "metrics" / "train" / "plots" / "metrics", len(losses)
    write_curve(curves, "train/loss", losses)
    write_curve(curves, "valid/loss", [loss + 0.1 for loss in losses])
    write_curve(curves, "train/lr", [0.001 * (n - number) / n for number in range(n)])


def make_scaling(n_sizes: int) -> dict[str, Any]:
    """Returns what the ladder writes of so many sizes: its own figures of a known law."""
    grid = ladder(LAW[:n_sizes], noise=0.01)
    protocols = ("heldout_lastword", HOSTILE[0])
    grid.scores.update({name: {"accuracy": 2 - grid.losses("valid") / 4} for name in protocols})
    split = {name: grid.losses(name) for name in ("train", "valid")}
    spread = {name: figures.resampled(grid, name, 50) for name in split}
    sizes = [
        {
            "name": f"{row + 1}x64",
            "n_parameters_non_embedding": int(grid.counts["non_embedding"][row]),
            **{f"{name}_loss": float(split[name][row].mean()) for name in split},
            **{f"{name}_loss_interval": figures.ends(spread[name][:, row]) for name in split},
            "scores": _scores_of(grid, row, slice(None)),
            "runs": [{"scores": _scores_of(grid, row, slice(k, k + 1))} for k in range(2)],
        }
        for row in range(n_sizes)
    ]
    return {"n_tokens": 1000, "sizes": sizes, **figures.figures(grid, 1000)}


def _scores_of(grid: figures.Grid, row: int, seeds: slice) -> dict[str, dict[str, float]]:
    return {
        protocol: {name: float(values[row, seeds].mean()) for name, values in each.items()}
        for protocol, each in grid.scores.items()
    }


def make_samples() -> list[dict[str, Any]]:
    """Returns samples of two prompts by two methods, as `model.sample` writes them."""
    return [
        {
            "prompt": prompt,
            "method": method,
            "index": index,
            "settings": {
                "temperature": 1.0,
                "top_k": 1 if method == "greedy" else 40,
                "top_p": None,
            },
            "seed": 5,
            "text": f"{HOSTILE[index]} returns a new array of the same shape. {PROSE}",
            "n_tokens": 60,
            "ended": index == 0,
        }
        for prompt in ("The function", HOSTILE[1])
        for method, n in (("greedy", 1), ("top_k_40", 3))
        for index in range(n)
    ]


EVALUATE = {
    "heldout": {
        "bits_per_byte": 1.61803,
        "perplexity_token": 88.5,
        "perplexity_word": 1204.6,
        "n_tokens": 600,
        "n_bytes": 2400,
        "n_words": 400,
    },
    "lambada_openai": {
        "accuracy": 0.125,
        "accuracy_low": 0.1,
        "accuracy_high": 0.15,
        "accuracy_stopword_filter": 0.2,
        "accuracy_stopword_filter_low": 0.18,
        "accuracy_stopword_filter_high": 0.22,
        "perplexity": 4321.0,
        "n": 5153,
    },
    "ptb_raw": {"bits_per_byte": 2.5, "perplexity_word": 5e12, "n_words": 82429},
    "new_set": {"accuracy": 0.5, "n": 4},
}
PROTOCOLS = {
    "absent": {
        "winograd": "no mirror folder",
        "wikitext2": "wikitext-2/wiki.test.tokens is absent",
    },
    "protocols": {
        "heldout": {
            "split": "valid",
            "unit": "words between blanks",
            "n_units": 400,
            "window": 256,
            "stride": 128,
            "digest_known": False,
            "detokenizer": "none",
            "paper": {},
        },
        "lambada_openai": {
            "split": "test",
            "unit": "last words",
            "n_units": 5153,
            "window": 256,
            "digest_known": True,
            "detokenizer": "none",
            "paper": {
                "perplexity": {"117M": 35.13, "1542M": 8.63},
                "accuracy_stopword_filter": {"117M": 0.4599},
                "accuracy": {"1542M": 0.5266},
            },
        },
    },
}
_ENCODED = {
    "train": {"n_documents": 57, "n_tokens": 11_400, "n_bytes": 45_000, "bytes_per_token": 3.96},
    "valid": {"n_documents": 3, "n_tokens": 600, "n_bytes": 2_400, "bytes_per_token": 4.02},
}
HISTOGRAMS = {
    "bullet_lines_frac": {
        "edges": [0.0, 0.25, 0.5, 0.75, 1.0],
        "counts": [64, 0, 16, 1, 0],
        "limits": {"gopher_max_bullet_lines_frac": 0.9, "gopher_min_bullet_lines_frac": 0.0},
    },
    "words": {
        "edges": [0.0, 16.0, 32.0, 64.0],
        "counts": [0, 3, 9, 2],
        "limits": {"gopher_min_words": 24.0, "gopher_max_words": 100000.0},
    },
    "stop_words": {"edges": [0.0, 1.0], "counts": [4, 9], "limits": {"gopher_min_stop_words": 0.0}},
}
OVERLAP = {
    "heldout": {"n_8grams": 46421, "percent": 1.9194, "percent_left": 0.4373},
    "ptb": {"n_8grams": 900, "percent": 0.5, "percent_left": 0.0, "paper_percent": 0.88},
}
MEMORIZE = {
    "sets": {
        "held_out": {
            "n_texts": 64,
            "mean_percent": 1.2955,
            "p90_percent": 2.8703,
            "max_percent": 28.5714,
            "longest_words": 23,
        },
        "generated": {"n_texts": 4, "n_too_short": 4, "longest_words": 0},
    }
}
_MORE = {
    "encode": _ENCODED,
    "clean": {"histograms": HISTOGRAMS},
    "decontaminate": {"sets": OVERLAP},
}
