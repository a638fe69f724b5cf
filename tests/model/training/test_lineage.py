"""Steps to documents and back, against what the loader really yields."""

from collections import Counter, defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from model.training import checkpoint, exposure, launch, lineage
from model.training.data import Windows
from model.training.lineage import Plan, Run
from pipeline.store import manifest, shards
from pipeline.store.errors import CheckpointError
from pipeline.store.records import is_validation
from pipeline.store.shards import Counts, FileInfo
from pipeline.tokens.arrow import TokenShards, Vocabulary, open_shards, write_shard
from tests.model.training.small_runs import SHAPE, config, make_places

N_CTX, BATCH, SEED, STEPS = 8, 3, 5, 40  # 40 steps of 3 windows: more than two epochs of 47
LENGTHS = [1 + 7 * number % 30 for number in range(25)]  # tokens of document 0, 1, ...


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    """Three shards, one of them empty; every token of document d is the number d."""
    folder = tmp_path_factory.mktemp("tokens")
    parts = [range(10), range(0), range(10, 25)]
    for index, part in enumerate(parts):
        documents = [[number] * LENGTHS[number] for number in part]
        ids = [f"{number:016x}" for number in part]
        sizes = [len(document) for document in documents]
        path = folder / f"part-{index:05d}.arrow"
        write_shard(path, ids, documents, sizes, Vocabulary("ab" * 32, 300, 299))
    return open_shards(sorted(folder.glob("*.arrow")))


@pytest.fixture(scope="module")
def run(tokens: TokenShards) -> Run:
    plan = Plan(tokens_root="", n_ctx=N_CTX, batch_size=BATCH, seed=SEED, steps=STEPS)
    return Run(name="run", plan=plan, documents=tokens.documents(), checkpoints=(10, 20, 40))


@pytest.fixture(scope="module")
def read(tokens: TokenShards) -> list[Counter[str]]:
    """By step, how many tokens of which document the loader yields; each token says whose it is."""
    windows = Windows(tokens, N_CTX, SEED)
    found = []
    for step in range(STEPS):
        inputs, targets = windows.batch(windows.ids(step, BATCH))
        seen = [*inputs.flatten().tolist(), *targets[:, -1].tolist()]
        found.append(Counter(f"{number:016x}" for number in seen))
    return found


def test_documents_of_every_step_are_those_the_loader_yields(
    run: Run, read: list[Counter[str]]
) -> None:
    assert [run.documents_of(step) for step in range(STEPS)] == read


def test_steps_of_every_document_are_those_whose_batches_hold_it(
    run: Run, read: list[Counter[str]]
) -> None:
    expected: dict[str, set[int]] = defaultdict(set)
    for step, counted in enumerate(read):
        for doc_id in counted:
            expected[doc_id].add(step)
    assert len(expected) == len(LENGTHS), "every document is read in two epochs"
    everything = run.steps_of(sorted(expected))
    for doc_id, steps in expected.items():
        told = everything[doc_id]
        assert {step for epoch in told.values() for step in epoch} == steps
        n_windows = (sum(LENGTHS) - 1) // N_CTX
        for epoch, mine in told.items():
            first, last = epoch * n_windows // BATCH, (epoch * n_windows + n_windows - 1) // BATCH
            assert all(first <= step <= last for step in mine)


def test_steps_of_document_that_is_not_in_the_stream_are_none(run: Run) -> None:
    assert run.steps_of(["f" * 16]) == {}
    (line,) = lineage.told_steps(run, "f" * 16)
    assert line == "run run: no step read it; its id is of the validation part"
    assert is_validation("f" * 16)


def test_steps_of_document_in_the_unused_rest_are_none(tokens: TokenShards) -> None:
    """With one window the documents behind it are never read."""
    rest = Run(
        name="run",
        plan=Plan(tokens_root="", n_ctx=200, batch_size=1, seed=0, steps=3),
        documents=tokens.documents(),
        checkpoints=(),
    )
    read = rest.documents_of(0)
    told = rest.steps_of([f"{n:016x}" for n in range(len(LENGTHS))])
    assert set(told) == set(read)
    assert told[next(iter(read))] == {0: (0,), 1: (1,), 2: (2,)}


def test_checkpoints_after_a_step_are_those_that_have_done_it(run: Run) -> None:
    assert run.checkpoints_after(9) == (10, 20, 40)
    assert run.checkpoints_after(10) == (20, 40)
    assert run.checkpoints_after(39) == (40,)


@pytest.mark.parametrize("step", [-1, STEPS])
def test_documents_of_a_step_the_run_does_not_have_are_refused(run: Run, step: int) -> None:
    with pytest.raises(ValueError, match=rf"step is {step}; expected 0 <= step < {STEPS}"):
        run.documents_of(step)


def test_run_without_its_documents_says_why(run: Run) -> None:
    with pytest.raises(CheckpointError, match=r"has no documents.parquet"):
        replace(run, documents=None).steps_of(["0" * 16])


def test_runs_of_a_real_training_outlive_its_tokens(workspace: Path) -> None:
    places = make_places(workspace)
    settings = {"model": asdict(SHAPE), "train": asdict(config(steps=6))}
    (before,) = lineage.runs(places.tokens, settings, places.checkpoints)
    assert before.name == lineage.AT_HAND
    launch.run(places, SHAPE, config(steps=6))
    (recorded,) = lineage.runs(places.tokens, settings, places.checkpoints)
    assert recorded.plan == before.plan
    assert recorded.checkpoints == (3, 6)
    assert recorded.documents_of(4) == before.documents_of(4)
    (folder,) = places.checkpoints.iterdir()
    assert checkpoint.newest(folder) is not None

    write_other_tokens(places.tokens)
    at_hand, old = lineage.runs(places.tokens, settings, places.checkpoints)
    assert (at_hand.name, old.name) == (lineage.AT_HAND, folder.name)
    assert old.plan == before.plan
    assert old.documents_of(4) == before.documents_of(4)
    assert at_hand.documents_of(0).keys() == {"a" * 16}

    (folder / exposure.FILE).unlink()
    with pytest.raises(CheckpointError, match="its tokens are not at hand"):
        lineage.runs(places.tokens, settings, places.checkpoints)[1].documents_of(0)


def test_run_that_left_a_curve_is_told_by_its_losses(workspace: Path) -> None:
    """Of two trainings on the same order, one with a guard, and one that was never here."""
    places = make_places(workspace)
    plain = config(steps=6)
    guarded = replace(plain, lr=0.02, on_bad_step="skip", max_spike_zscore=0.1, spike_window=2)
    n_skipped, curves = {}, {}
    for name, each in (("plain", plain), ("guarded", guarded)):
        n_skipped[name] = (launch.run(places, SHAPE, each) or {})["skipped_steps"]
        curves[name] = logged(places.curve / "plots" / "metrics" / "train" / "loss.tsv")
    strange = [(1, 0.5)]
    settings = {"model": asdict(SHAPE), "train": asdict(plain)}
    asked = lineage.Trained(tokens=places.tokens, checkpoints=places.checkpoints, settings=settings)
    (at_hand, *_) = lineage.runs(places.tokens, settings, places.checkpoints)
    expected = {step: at_hand.documents_of(step) for step in (0, 5)}
    for losses in (curves["plain"], curves["guarded"], strange):
        assert asked.documents_of(losses, [0, 5, 6]) == expected
    left_out = asked.left_out(curves["guarded"])
    assert left_out is not None
    assert 0 < len(left_out) == n_skipped["guarded"]
    assert set(left_out.values()) <= {"loss_spike", "gradient_spike"}
    assert asked.left_out(curves["plain"]) == {}
    assert asked.left_out(strange) is asked.left_out([]) is None

    write_other_tokens(places.tokens)
    assert asked.documents_of(curves["guarded"], [0, 5]) == expected, "the run's own tokens"
    assert asked.documents_of(strange, [0])[0].keys() == {"a" * 16}, "the run at hand"


def logged(path: Path) -> list[tuple[int, float]]:
    """Steps done and losses of a curve as DVCLive wrote it."""
    names, *rows = (line.split("\t") for line in path.read_text().splitlines())
    told = [dict(zip(names, row, strict=True)) for row in rows]
    return [(int(row["step"]), float(row["loss"])) for row in told]


def test_damaged_checkpoint_of_another_run_hides_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "0123" / "step-00000010"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text('{"rows": [{"st')
    asked = lineage.Trained(tokens=tmp_path, checkpoints=tmp_path / "checkpoints", settings={})
    assert asked.left_out([(1, 2.0)]) is None
    assert asked.documents_of([(1, 2.0)], [0]) == {}


def write_other_tokens(folder: Path) -> None:
    for path in folder.glob("*/*.arrow"):
        path.unlink()
    name = "train/part-00000.arrow"
    write_shard(folder / name, ["a" * 16], [[7] * 100], [300], Vocabulary("cd" * 32, 300, 299))
    info = FileInfo(
        n_bytes=(folder / name).stat().st_size, sha256=shards.sha256_file(folder / name), rows=1
    )
    manifest.write(folder, "encode", {name: info}, Counts(n_in=1, n_out=1, dropped={}), {}, 1)


def test_runs_of_nothing_are_none(tmp_path: Path) -> None:
    assert lineage.runs(tmp_path / "tokens", {}, tmp_path / "checkpoints") == []


def test_runs_damaged_checkpoint_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "0123" / "step-00000010"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text('{"about": {}}')
    with pytest.raises(CheckpointError, match=r"step-00000010/checkpoint.json cannot be read"):
        lineage.runs(tmp_path / "tokens", {}, tmp_path / "checkpoints")
