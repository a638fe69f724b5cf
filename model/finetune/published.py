"""Every published labelled task that is known: its source, its bytes, its licence, its size.

Nothing is downloaded and nothing is shipped: a user brings the files in a mirror folder, laid out
as `files` says. A file counts as the published one by its SHA-256. `licence` repeats what the
source states; it is a note, not advice. Of some tasks no copy was at hand: `docs/evalsets.md` says
where their form is known from, and only `labelled.accept` lets their files in.

    the paper's twelve    snli mnli qnli scitail rte    race story_cloze
                          mrpc qqp stsb                 sst2 cola
    stand-ins             sick (for SNLI)               mctest (for RACE)

Paper: GPT-1, section 4.2, tables 1 to 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from model.finetune.tasks import Kind, Metric, Split, Task

Form = Literal[
    "sst2", "cola", "mrpc", "stsb", "rte", "story_cloze", "sick", "mctest",
    "mnli", "qqp", "qnli", "snli", "scitail", "race",
]  # fmt: skip

UNKNOWN = ""  # digest of a file that was not at hand

PAIR = ("entailment", "not_entailment")
TRIPLE = ("entailment", "neutral", "contradiction")

_GLUE = "https://gluebenchmark.com/tasks"
_GLUE_TEST = "GLUE's test split, whose labels are not public"


_DIGESTS = {
    "cola/dev.tsv": "8c013e21dc39957cac37378d87bebe225b694a0d5fe13eded66c2856628833fd",
    "cola/train.tsv": "e1a908079e16a3758dfd439b2aedb4edbd3c1f4d3acb1876f4b920aa92c7d358",
    "cola/train_heldout.tsv": "7db5a40c6af005593a832f4ca018d3ae1a6dc33ea6fd2eb62cabf46caaf1c9dc",
    "mctest/mc160.dev.ans": "5817e74822ddf69ef0e08d667ccc6d1ab74c0f69213d722bb15b14bf7ca440ca",
    "mctest/mc160.dev.statements.tsv": (
        "e1dfd498684901266830c716029c6aea73d5d786ec30602885b177566456b811"
    ),
    "mctest/mc160.test.ans": "2991731c0e627e85d0cab7947f8a4c81791456d4ffcb7375f3ffeeab5a6ca447",
    "mctest/mc160.test.statements.tsv": (
        "fd739ec593ef234340db6a35df3aa41f63264da64a1b8e6e5a4a4d60417f8cbb"
    ),
    "mctest/mc160.train.ans": "8cda8ed11db06727b0f437b6f87205fb4d83f4c02bcdec7f3f7dd2fdfb277225",
    "mctest/mc160.train.statements.tsv": (
        "251334c0b3950a42213880a60ecfe890c2068e702935c44e504617bb628843a2"
    ),
    "mctest/mc500.dev.ans": "fa39fd87bca26b938f1d08c14100ed2dca6b1dd258c16bf5cd706dbcc056c30c",
    "mctest/mc500.dev.statements.tsv": (
        "a926fbc64f9b9081f56c23006bdc8d7da1ed0c3b88f321dbf922c13a05219654"
    ),
    "mctest/mc500.test.ans": "f348cd47681ec2cb03429c2de6448519d4c63f39577fe2ef5f0dfb19692c5908",
    "mctest/mc500.test.statements.tsv": (
        "ccf0869561036e1961e8b5b52beb69abd0b40052002eb929b6c5a75670652929"
    ),
    "mctest/mc500.train.ans": "0abaa1cb98bcc1c12c8c65ff8d0848e8279473fe806f7b7f68cb1aa292265314",
    "mctest/mc500.train.statements.tsv": (
        "277d2076f242824e619f7b7cd69e7af1ea2f1a072d7a547d23ebd6b4db40213a"
    ),
    "mrpc/msr_paraphrase_test.txt": (
        "0360d0d3427a0ae14882e2b3a799df0fab6cb5203d5e8ee481949283da62acb6"
    ),
    "mrpc/msr_paraphrase_train.txt": (
        "61a88818ec384d8465297dda1883b469f1b22d442ab90183d13e06233b180591"
    ),
    "rte/train.jsonl": "fdfb03443abe3ec0424b7fc5d1a8863361719bc061338b7a63e56b94d615f201",
    "rte/val.jsonl": "ab990507bf5f35dc176cba7770a72bfa2c50a88ed72b8cc95cfbf9db95ab1af1",
    "sick/SICK_test_annotated.txt": (
        "2b8aa806658d6fc23c6824c83776c2d4fee7556000817b5ec0f982861413b7d0"
    ),
    "sick/SICK_train.txt": "266cf8047149bd1d68138dd30439f3122bff30069740ac6705bb6197d9f1b48e",
    "sick/SICK_trial.txt": "5a88cfb62f8c6bd2a3cce0f2421ba2cb8c2be5ab4a800f6f01e2c64aafb7db56",
    "sst2/dev.tsv": "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0",
    "sst2/train.tsv": "920e317b2c52e12cd22db1da2c6708312bd7dc4f3712b9bbf1b50ee6c2c792ba",
    "sst2/train_heldout.tsv": "92353770071a2a889f75d000a38a9e541ea8f0a5499e50f040b17917a5cbf66f",
    "storycloze/cloze_test_test_spring2016.csv": (
        "9c74e954269bb5651a8635ead7c74b574e205e396d4d1074b755b969f613f396"
    ),
    "storycloze/cloze_test_val_spring2016.csv": (
        "b1490dd866bb30c136004d6ebda5ffcf39aafa4535a36e61b24673ff96235854"
    ),
    "stsb/sts-dev.tsv": "5d7e944d8b02734b07bfdb5df67db3420c64bed153fcaa1ba47ad03480cf4234",
    "stsb/sts-test.tsv": "affe45928a66ee5a708531233c95b7dacbbdc57f974f002a3d32ea0180cf816a",
    "stsb/sts-train.tsv": "0f71910b59aa1ad973c5897f0791f3b0965a92b8f82b1a95f3eea9f4162fda82",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One split of a task.

    Attributes:
        files: Path below the mirror folder and SHA-256, `UNKNOWN` where no copy was at hand. A
            path that ends with `/` is a folder whose `*.txt` are read together.
        n: Examples in them.
    """

    files: tuple[tuple[str, str], ...]
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One known task.

    Attributes:
        task: What is trained and scored.
        form: How its files are read; see `readers`.
        parts: By split.
        n_dev: How many examples of the training files become the dev split, which is then in no
            file of its own; 0 for none.
        url: Where it was published.
        licence: As stated at the source.
    """

    task: Task
    form: Form
    parts: Mapping[Split, Part]
    n_dev: int = 0
    url: str
    licence: str


def _part(n: int, *paths: str) -> Part:
    return Part(files=tuple((path, _DIGESTS.get(path, UNKNOWN)) for path in paths), n=n)


def _mctest(split: str, n: int) -> Part:
    names = (
        f"mctest/mc{size}.{split}.{end}" for size in (160, 500) for end in ("statements.tsv", "ans")
    )
    return _part(n, *names)


def _race(split: str, n: int) -> Part:
    return _part(n, f"race/{split}/middle/", f"race/{split}/high/")


def _task(
    name: str,
    kind: Kind,
    labels: tuple[str, ...],
    scored_split: Split,
    paper: Mapping[Metric, float],
    *,
    hidden: str = "",
) -> Task:
    """Returns a task of classes or choices.

    Args:
        name: Of the task.
        kind: Which input transformation.
        labels: Names of its classes.
        scored_split: Which split is scored here.
        paper: The paper's figures; the first is the headline, without any it is accuracy.
        hidden: The split of the paper's figures, where its labels are not public.
    """
    headline: tuple[Metric, ...] = tuple(paper)
    metrics: tuple[Metric, ...] = (*headline, *(() if "accuracy" in paper else ("accuracy",)))
    return Task(
        name=name,
        kind=kind,
        labels=labels,
        grades=None,
        metrics=metrics,
        scored_split=scored_split,
        use="GPT-1, section 4.2",
        paper=paper,
        paper_split=hidden or scored_split,
        comparable=not hidden and bool(paper),
    )


TASKS = (
    Published(
        task=_task(
            "sst2", "text", ("negative", "positive"), "dev", {"accuracy": 0.913}, hidden=_GLUE_TEST
        ),
        form="sst2",
        parts={
            "train": _part(67_349, "sst2/train.tsv", "sst2/train_heldout.tsv"),
            "dev": _part(872, "sst2/dev.tsv"),
        },
        url=_GLUE,
        licence="SST-2: no terms are stated",
    ),
    Published(
        task=_task(
            "cola",
            "text",
            ("unacceptable", "acceptable"),
            "dev",
            {"matthews": 0.454},
            hidden=_GLUE_TEST,
        ),
        form="cola",
        parts={
            "train": _part(8_551, "cola/train.tsv", "cola/train_heldout.tsv"),
            "dev": _part(1_043, "cola/dev.tsv"),
        },
        url="https://nyu-mll.github.io/CoLA",
        licence="CoLA: sentences of linguistics books and papers, for research; no licence stated",
    ),
    Published(
        task=_task("mrpc", "similarity", ("different", "paraphrase"), "test", {"f1": 0.823}),
        form="mrpc",
        parts={
            "train": _part(4_076, "mrpc/msr_paraphrase_train.txt"),
            "test": _part(1_725, "mrpc/msr_paraphrase_test.txt"),
        },
        n_dev=408,  # as many as GLUE's dev split, whose list of ids is not part of the corpus
        url="https://www.microsoft.com/en-us/download/details.aspx?id=52398",
        licence="MRPC: Microsoft Research's licence; not to be redistributed",
    ),
    Published(
        task=Task(
            name="stsb",
            kind="similarity",
            labels=(),
            grades=6,
            metrics=("pearson", "spearman"),
            scored_split="test",
            use="GPT-1, section 4.2",
            paper={"pearson": 0.820},
            paper_split="test",
            comparable=True,
        ),
        form="stsb",
        parts={
            "train": _part(5_749, "stsb/sts-train.tsv"),
            "dev": _part(1_500, "stsb/sts-dev.tsv"),
            "test": _part(1_379, "stsb/sts-test.tsv"),
        },
        url="https://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
        licence="STS-B: scores CC BY-SA 4.0; texts under the licences of their sources",
    ),
    Published(
        task=_task("rte", "entailment", PAIR, "dev", {"accuracy": 0.560}, hidden=_GLUE_TEST),
        form="rte",
        parts={
            "train": _part(2_490, "rte/train.jsonl"),
            "dev": _part(277, "rte/val.jsonl"),
        },
        url="https://super.gluebenchmark.com/tasks",
        licence="RTE: no terms are stated",
    ),
    Published(
        task=_task("story_cloze", "choice", (), "test", {"accuracy": 0.865}),
        form="story_cloze",
        parts={
            "train": _part(1_871, "storycloze/cloze_test_val_spring2016.csv"),
            "test": _part(1_871, "storycloze/cloze_test_test_spring2016.csv"),
        },
        n_dev=374,  # released code, datasets.py: 1,497 and 374 of the 1,871
        url="https://cs.rochester.edu/nlp/rocstories/",
        licence="Story Cloze Test: on request; not to be redistributed",
    ),
    Published(
        task=_task("sick", "entailment", TRIPLE, "test", {}),
        form="sick",
        parts={
            "train": _part(4_500, "sick/SICK_train.txt"),
            "dev": _part(500, "sick/SICK_trial.txt"),
            "test": _part(4_927, "sick/SICK_test_annotated.txt"),
        },
        url="https://alt.qcri.org/semeval2014/task1/",
        licence="SICK: CC BY-NC-SA 3.0",
    ),
    Published(
        task=_task("mctest", "choice", (), "test", {}),
        form="mctest",
        parts={
            "train": _mctest("train", 1_480),
            "dev": _mctest("dev", 320),
            "test": _mctest("test", 840),
        },
        url="https://mattr1.github.io/mctest/",
        licence="MCTest: Microsoft Research's licence, for research",
    ),
    Published(
        task=_task("mnli", "entailment", TRIPLE, "dev", {"accuracy": 0.821}, hidden=_GLUE_TEST),
        form="mnli",
        parts={
            "train": _part(392_702, "mnli/train.tsv"),
            "dev": _part(9_815, "mnli/dev_matched.tsv"),
        },
        url=_GLUE,
        licence="MultiNLI: by genre, OANC, CC BY 3.0 and CC BY-SA 3.0",
    ),
    Published(
        task=_task(
            "qqp", "similarity", ("different", "duplicate"), "dev", {"f1": 0.703}, hidden=_GLUE_TEST
        ),
        form="qqp",
        parts={
            "train": _part(363_846, "qqp/train.tsv"),
            "dev": _part(40_430, "qqp/dev.tsv"),
        },
        url=_GLUE,
        licence="QQP: Quora's terms of service, not for commerce",
    ),
    Published(
        task=_task(
            "qnli",
            "entailment",
            PAIR,
            "dev",
            {"accuracy": 0.881},
            hidden=f"{_GLUE_TEST}, of the first release",
        ),
        form="qnli",
        parts={
            "train": _part(104_743, "qnli/train.tsv"),
            "dev": _part(5_463, "qnli/dev.tsv"),
        },
        url=_GLUE,
        licence="QNLI, from SQuAD: CC BY-SA 4.0",
    ),
    Published(
        task=_task("snli", "entailment", TRIPLE, "test", {"accuracy": 0.899}),
        form="snli",
        parts={
            "train": _part(549_367, "snli/snli_1.0_train.jsonl"),
            "dev": _part(9_842, "snli/snli_1.0_dev.jsonl"),
            "test": _part(9_824, "snli/snli_1.0_test.jsonl"),
        },
        url="https://nlp.stanford.edu/projects/snli/snli_1.0.zip",
        licence="SNLI: CC BY-SA 4.0",
    ),
    Published(
        task=_task("scitail", "entailment", ("neutral", "entails"), "test", {"accuracy": 0.883}),
        form="scitail",
        parts={
            "train": _part(23_596, "scitail/scitail_1.0_train.tsv"),
            "dev": _part(1_304, "scitail/scitail_1.0_dev.tsv"),
            "test": _part(2_126, "scitail/scitail_1.0_test.tsv"),
        },
        url="https://allenai.org/data/scitail",
        licence="SciTail: Apache-2.0 by its mirrors; the source names none",
    ),
    Published(
        task=_task("race", "choice", (), "test", {"accuracy": 0.590}),
        form="race",
        parts={
            "train": _race("train", 87_866),
            "dev": _race("dev", 4_887),
            "test": _race("test", 4_934),
        },
        url="https://www.cs.cmu.edu/~glai1/data/race/",
        licence="RACE: for research, not for commerce",
    ),
)
"""Tasks that a mirror folder may hold; the default's own two are made, see `corpus`."""
