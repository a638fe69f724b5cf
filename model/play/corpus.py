"""What the training text holds of a passage, and what became of a URL.

    text ──codec──> ids ──index──> passages ──> document, URL, place, words around, training steps
    url ──> doc_id ──ledger──> stage by stage, WARC record, submissions, training steps, beginning

Decisions
- The corpus's own tokenizer cuts the text, whichever model wrote it. A passage from the middle of a
  line begins with a blank in the corpus, so the text is tried with one in front, too; what finds
  more is told.
- Opened at the first question and kept: the page is there at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from model.play.answer import Spelling
from model.training import lineage
from pipeline.store import inquiry, ledger, manifest, origin
from pipeline.store.ledger import KEPT, Ledger
from pipeline.tokens import codec
from pipeline.tokens.codec import Codec
from pipeline.tokens.ngrams import Found, Index, N, Passage

_AROUND = 40  # tokens shown before and after a passage
_BEGINNING = 120  # tokens shown of a document
_EXAMPLE = 24  # tokens of a passage that is offered as an example
_N_DECISIONS = 200  # of each stage that are looked through for examples
_N_REASONS = 2  # of each stage that are offered as examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the run's outputs lie.

    Attributes:
        data: The folders of shards.
        ngrams: The index of the training tokens.
        checkpoints: Of training runs.
        settings: The content of params.yaml, for the run at hand.
        scan: Reads a WARC file that has no index.
    """

    data: Path
    ngrams: Path
    checkpoints: Path
    settings: Mapping[str, Any]
    scan: origin.Scan


class Corpus:
    """The run's data, opened for questions."""

    def __init__(self, places: Places) -> None:
        self._places = places

    @property
    def is_there(self) -> bool:
        """Whether there are training tokens to look in."""
        return (self._places.ngrams / manifest.NAME).is_file()

    @cached_property
    def _index(self) -> Index:
        return Index(self._places.data / "tokens", self._places.ngrams)

    @cached_property
    def _coder(self) -> Codec:
        theirs = self._index.tokens.tokenizer_sha256
        coder = codec.load(self._places.data / "bpe" / "tokenizer.json")
        ours = coder.vocabulary.tokenizer_sha256
        if ours != theirs:
            raise ValueError(
                f"{self._places.data}/tokens was encoded with tokenizer {theirs[:16]}…, "
                f"{self._places.data}/bpe holds {ours[:16]}…; run dvc repro encode"
            )
        return coder

    @cached_property
    def _opened(self) -> Ledger:
        return ledger.load(self._places.data)

    @cached_property
    def _runs(self) -> list[lineage.Run]:
        places = self._places
        return lineage.runs(places.data / "tokens", places.settings, places.checkpoints)

    def seen(self, text: str, n_most: int) -> dict[str, Any]:
        """Returns where the training text has passages of `N` tokens or more of a text.

        Args:
            text: Anything.
            n_most: Documents to tell of.
        """
        tried = [self._found(variant, n_most) for variant in (text, f" {text}")]
        ids, found = max(tried, key=lambda each: sum(each[1].covered))
        return {
            "n": N,
            "n_tokens": len(ids),
            "n_seen": sum(found.covered),
            "n_runs": found.n_runs,
            "n_documents": found.n_documents,
            "n_corpus_tokens": self._index.tokens.n_tokens,
            "pieces": _pieces(self._spelled(ids), found.covered, text),
            "documents": self._described(found.passages, ids),
        }

    def _found(self, text: str, n_most: int) -> tuple[list[int], Found]:
        ids = [int(token) for token in self._coder.encode(text)]
        return ids, self._index.find(ids, n_most)

    def _spelled(self, ids: Sequence[int]) -> list[str]:
        spelling = Spelling(self._coder)
        return [spelling.add(token) for token in ids]

    def _described(self, passages: Sequence[Passage], ids: Sequence[int]) -> list[dict[str, Any]]:
        wanted = [passage.doc_id for passage in passages]
        rows = self._opened.rows("decontaminate", ["doc_id", "url", "title"], wanted).to_pylist()
        known = {row["doc_id"]: row for row in rows}
        steps = self._steps(wanted)
        return [
            {
                **asdict(passage),
                **{key: known.get(passage.doc_id, {}).get(key) or "" for key in ("url", "title")},
                **self._excerpt(passage),
                "query_text": self._coder.decode(ids[passage.query : passage.query + passage.n]),
                "steps": steps.get(passage.doc_id, []),
            }
            for passage in passages
        ]

    def _excerpt(self, passage: Passage) -> dict[str, Any]:
        """Returns the passage in its document, with the words around it."""
        at, end = passage.place, passage.place + passage.n
        first, last = max(0, at - _AROUND), min(passage.n_document, end + _AROUND)
        return {
            "before": self._text(passage.stream, first, at),
            "match": self._text(passage.stream, at, end),
            "after": self._text(passage.stream, end, last),
            "cut_before": first > 0,
            "cut_after": last < passage.n_document,
        }

    def _text(self, stream: int, first: int, last: int) -> str:
        ids = self._index.tokens.slice(stream + first, stream + last)
        return self._coder.decode(map(int, ids))

    def _steps(self, doc_ids: Sequence[str]) -> dict[str, list[int]]:
        """Returns the steps that read each document, ascending, of the first run that can tell."""
        known = [run for run in self._runs if run.documents is not None]
        return known[0].all_steps_of(doc_ids) if known and doc_ids else {}

    def fate(self, url: str) -> dict[str, Any]:
        """Returns what became of a URL, or of a document id.

        Raises:
            ValueError: If it is neither, or no stage has ever seen it.
        """
        asked = url.strip()
        doc_id = asked if inquiry.is_id(asked) else inquiry.id_of(asked)
        way = inquiry.way(self._opened, doc_id)
        found = origin.origins(self._opened, self._places.data, [doc_id], self._places.scan)
        return {
            "doc_id": doc_id,
            "url": found[doc_id].url or (asked if asked != doc_id else ""),
            "way": [asdict(stop) for stop in way],
            "ahead": self._ahead(way[-1]),
            "origin": origin.told(found[doc_id]),
            "runs": [line for run in self._runs for line in lineage.told_steps(run, doc_id)],
            "beginning": self._beginning(doc_id),
        }

    def _ahead(self, last: inquiry.Stop) -> list[str]:
        """Returns the stages that a dropped document did not reach."""
        stages = [place.stage for place in self._opened.places if not place.is_entry]
        if not last.is_dropped or last.stage not in stages:
            return []
        return stages[stages.index(last.stage) + 1 :]

    def _beginning(self, doc_id: str) -> str:
        """Returns the first words of a document; "" unless it is in the corpus."""
        rows = self._opened.rows("decontaminate", ["doc_id", "text"], [doc_id]).to_pylist()
        if not rows:
            return ""
        return self._coder.decode(map(int, self._coder.encode(rows[0]["text"][:2000])[:_BEGINNING]))

    def examples(self) -> dict[str, Any]:
        """Returns questions that have an answer: passages of training text, and URLs by fate."""
        if not self.is_there:
            return {"passages": [], "urls": []}
        rows = self._index.documents.filter(
            self._index.documents["n_tokens"].to_numpy() > 2 * _EXAMPLE
        )
        picked = [rows["start"][len(rows) * i // 3].as_py() for i in range(3) if len(rows)]
        passages = [self._text(start, 0, _EXAMPLE).strip() for start in picked]
        return {"passages": passages, "urls": self._urls()}

    def _urls(self) -> list[dict[str, str]]:
        """Returns a kept URL, then some that each stage dropped, one for each of a few reasons."""
        stages = [place.stage for place in self._opened.places if not place.is_entry]
        kept = self._index.documents["doc_id"].slice(0, 1).to_pylist()
        chosen = dict.fromkeys(kept, KEPT)
        for stage, following in pairwise(stages):
            by_end = {end: doc_id for doc_id, end in self._ends(stage, following)}
            chosen |= {doc_id: end for end, doc_id in list(by_end.items())[:_N_REASONS]}
        rows = self._opened.rows("links", ["doc_id", "url"], list(chosen)).to_pylist()
        urls = {row["doc_id"]: row["url"] for row in rows}
        return [{"url": urls[d], "end": end} for d, end in chosen.items() if d in urls]

    def _ends(self, stage: str, following: str) -> Iterator[tuple[str, str]]:
        """Yields documents that one stage dropped, with its name and the reason."""
        said = self._opened.decisions(stage)
        if said is None:
            return
        rows = said.head(_N_DECISIONS, columns=["doc_id", "reason"]).to_pylist()
        gone = self._opened.rows(following, ["doc_id"], [row["doc_id"] for row in rows])
        went_on = set(gone["doc_id"].to_pylist())  # a drop of a repeat ends nothing
        for row in rows:
            if row["doc_id"] not in went_on:
                yield row["doc_id"], f"{stage}: {row['reason']}"


def _pieces(spelled: Sequence[str], covered: Sequence[bool], text: str) -> list[dict[str, Any]]:
    """Returns a text in pieces that were seen, or not.

    >>> _pieces([" a", "b", " c"], [True, True, False], "ab c")
    [{'text': 'ab', 'seen': True}, {'text': ' c', 'seen': False}]
    """
    pieces: list[dict[str, Any]] = []
    for piece, seen in zip(spelled, covered, strict=True):
        if pieces and pieces[-1]["seen"] == seen:
            pieces[-1]["text"] += piece
        else:
            pieces.append({"text": piece, "seen": seen})
    if pieces and not text.startswith(" "):  # the blank that was tried in front
        pieces[0]["text"] = pieces[0]["text"].removeprefix(" ")
    return pieces
