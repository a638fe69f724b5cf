"""What the training text holds of a text, and what became of a URL."""

from pathlib import Path

import pytest

from model.play.corpus import Corpus, Places
from pipeline.store.errors import ManifestError
from pipeline.store.records import doc_id
from pipeline.tokens import codec, encode
from tests.model.play.conftest import Run
from tests.pipeline.report.world import PROSE, Document


@pytest.fixture(scope="session")
def corpus(finished: Run) -> Corpus:
    return Corpus(finished.places)


@pytest.fixture(scope="session")
def trained_on(finished: Run) -> list[Document]:
    """The documents of the training part; three of the corpus are held out."""
    path = finished.root / "data" / "tokens" / "train" / "part-00000.arrow"
    tokenizer = finished.root / "data" / "bpe" / "tokenizer.json"
    ids = {name for name, _ in encode.read_texts(tokenizer, path)}
    return [document for document in finished.documents if document.doc_id in ids]


def test_each_training_document_is_found_by_its_own_text(
    finished: Run, corpus: Corpus, trained_on: list[Document]
) -> None:
    coder = codec.load(finished.root / "data" / "bpe" / "tokenizer.json")
    assert len(trained_on) == len(finished.documents) - 3
    for document in trained_on[::5]:
        told = corpus.seen(document.text, 100)
        assert told["n_seen"] == told["n_tokens"] == len(coder.encode(document.text))
        (found,) = [one for one in told["documents"] if one["doc_id"] == document.doc_id]
        assert (found["url"], found["title"]) == (document.url, document.title)
        assert (found["place"], found["n"]) == (0, found["n_document"])
        assert found["match"] == document.text == found["query_text"]


def test_passage_from_the_middle_is_told_with_its_place_and_the_words_around(
    corpus: Corpus, trained_on: list[Document]
) -> None:
    """Its first word had a blank before it in the document, which the question has not."""
    document = trained_on[20]
    start = document.text.index("task is tried")
    told = corpus.seen(document.text[start : start + 60], 100)
    assert told["pieces"][0]["seen"] is True
    assert "".join(piece["text"] for piece in told["pieces"]) == document.text[start : start + 60]
    found = told["documents"][0]
    text = next(d.text for d in trained_on if d.doc_id == found["doc_id"])
    assert found["before"] + found["match"] + found["after"] in text
    assert found["match"].strip() in document.text[start : start + 60]


def test_unseen_words_between_seen_ones_are_told_apart(corpus: Corpus) -> None:
    words = PROSE.split()
    text = " ".join([*words[:16], "zyx wvu tsr qpo", *words[16:40]])
    pieces = corpus.seen(text, 1)["pieces"]
    assert "".join(piece["text"] for piece in pieces) == text
    assert pieces[0]["seen"]
    assert pieces[-1]["seen"]
    assert "zyx wvu tsr qpo" in "".join(piece["text"] for piece in pieces if not piece["seen"])


def test_text_nobody_wrote_is_not_found(corpus: Corpus) -> None:
    told = corpus.seen("Quartz zebras vex a jumbo fjord whilst kayaking by.", 5)
    assert (told["n_seen"], told["n_documents"], told["documents"]) == (0, 0, [])
    assert corpus.seen("", 5)["n_tokens"] == 0


def test_run_without_tokens_offers_nothing_and_names_what_makes_them(tmp_path: Path) -> None:
    places = Places(
        data=tmp_path,
        ngrams=tmp_path / "ngrams",
        checkpoints=tmp_path,
        settings={},
        scan=lambda _path: {},
    )
    corpus = Corpus(places)
    assert not corpus.is_there
    assert corpus.examples() == {"passages": [], "urls": []}
    with pytest.raises(ManifestError, match="run `dvc repro encode`"):
        corpus.seen("text", 1)


def test_end_mark_in_a_question_is_text(corpus: Corpus) -> None:
    assert corpus.seen("<|endoftext|> " * 3, 5)["n_documents"] == 0


def test_fate_of_a_kept_url_names_every_stage_and_how_it_begins(
    corpus: Corpus, trained_on: list[Document]
) -> None:
    told = corpus.fate(trained_on[30].doc_id)
    stages = [stop["stage"] for stop in told["way"]]
    assert stages[0] == "links"
    assert stages[-1] == "encode"
    assert not any(stop["is_dropped"] for stop in told["way"])
    assert trained_on[30].text.startswith(told["beginning"])
    assert told["ahead"] == []
    assert any("first read in step" in line for line in told["runs"])


def test_fate_of_a_dropped_document_names_where_why_and_what_it_missed(corpus: Corpus) -> None:
    told = corpus.fate(doc_id("http://torch-manual.test/language/3/"))
    assert told["way"][-1] == {
        "stage": "clean",
        "is_dropped": True,
        "told": "dropped: language (fr 0.99)",
    }
    assert told["ahead"] == ["dedup", "decontaminate", "encode"]
    assert told["beginning"] == ""


def test_fate_of_what_is_no_url_or_unknown_says_what_is_expected(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="is no URL; expected an absolute"):
        corpus.fate("javascript:alert(1)")
    with pytest.raises(ValueError, match="was never seen by links"):
        corpus.fate("http://nowhere.test/")


def test_examples_have_the_answers_they_promise(corpus: Corpus) -> None:
    examples = corpus.examples()
    assert len(examples["passages"]) == 3
    for passage in examples["passages"]:
        assert corpus.seen(passage, 1)["n_documents"] > 0
    told = {one["end"].split(":")[0] for one in examples["urls"]}
    assert {"crawl", "extract", "clean", "dedup"} <= told
