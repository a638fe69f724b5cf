"""What a stage costs: constants that were measured, read from `benchmarks/costs.json`.

    CPU seconds        = fixed_cpu_s      + cpu_s_per_mb      x MB of input
    memory of a worker = fixed_peak_bytes + peak_bytes_per_mb x MB of one shard
    bytes kept on disk = fixed_disk_bytes + disk_bytes_per_mb x MB of input

MB are 10^6 bytes of what the stage reads: HTML for `extract`, text for the others. A length costs
more than a document does, so what is planned goes by MB; costs by document stand beside them.
`python -m benchmarks.scaling --calibrate` measures `stages` and `crawl` anew; `corpora` are
published figures and `nodes` data sheets, each with its source.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
MEASURE = "python -m benchmarks.scaling --calibrate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Constants of one data stage.

    Attributes:
        fixed_cpu_s: CPU seconds whatever the size, the start of the engine left out.
        cpu_s_per_mb: CPU seconds of each further MB of input.
        cpu_s_per_document: The same by document, of the measured length.
        fixed_peak_bytes: Memory of a worker whatever the size, its children included.
        peak_bytes_per_mb: Memory of a worker for each further MB of one shard.
        largest_shard_mb: The largest shard that memory was measured with.
        fixed_disk_bytes: What the stage leaves on disk whatever the size, the shard store included.
        disk_bytes_per_mb: The same of each further MB of input.
    """

    fixed_cpu_s: float
    cpu_s_per_mb: float
    cpu_s_per_document: float
    fixed_peak_bytes: float
    peak_bytes_per_mb: float
    largest_shard_mb: float
    fixed_disk_bytes: float
    disk_bytes_per_mb: float

    def cpu_s(self, mb: float) -> float:
        """Returns the CPU seconds of an input.

        >>> Stage(fixed_cpu_s=1.0, cpu_s_per_mb=0.5, cpu_s_per_document=0.0, fixed_peak_bytes=9.0,
        ...       peak_bytes_per_mb=2.0, largest_shard_mb=1.0, fixed_disk_bytes=0.0,
        ...       disk_bytes_per_mb=0.0).cpu_s(10)
        6.0
        """
        return self.fixed_cpu_s + self.cpu_s_per_mb * mb

    def peak_bytes(self, mb_per_shard: float) -> float:
        """Returns the memory of a worker on shards of that size."""
        return self.fixed_peak_bytes + self.peak_bytes_per_mb * mb_per_shard

    def disk_bytes(self, mb: float) -> float:
        """Returns what stays on disk."""
        return self.fixed_disk_bytes + self.disk_bytes_per_mb * mb


@dataclass(frozen=True, slots=True, kw_only=True)
class Crawl:
    """Constants of the crawl, over loopback: what the internet adds is waiting.

    Attributes:
        cpu_s_per_page: CPU seconds of each further page, robots.txt included.
        html_bytes_per_page: Size of the measured pages.
        wire_bytes_per_page: The same as sent.
        warc_bytes_per_page: Bytes stored of each further page, index and row included.
        fixed_peak_bytes: Memory of a partition whatever the size.
        peak_bytes_per_link: Memory of a partition for each further link.
    """

    cpu_s_per_page: float
    html_bytes_per_page: float
    wire_bytes_per_page: float
    warc_bytes_per_page: float
    fixed_peak_bytes: float
    peak_bytes_per_link: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What became of a corpus' links, as published.

    Attributes:
        pages_per_link: Pages that were fetched, of the links.
        documents_per_page: Documents of the finished corpus, of the pages.
        bytes_per_document: UTF-8 bytes of text.
        bytes_per_token: The same of a token.
        n_vocab: Entries of the vocabulary that the tokens were counted with.
        largest_host_frac: Links of the host that has most of them.
        source: Where these figures stand.
    """

    pages_per_link: float
    documents_per_page: float
    bytes_per_document: float
    bytes_per_token: float
    n_vocab: int
    largest_host_frac: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A type of machine.

    Attributes:
        cores: CPUs as the system counts them.
        memory_gb: 10^9 bytes.
        gpus: How many.
        device: Key of `model.training.plan.DEVICES`; null without a GPU.
        usd_per_hour: Its price; null where none is known.
        source: Where these figures stand.
    """

    cores: int
    memory_gb: float
    gpus: int
    device: str | None
    usd_per_hour: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """All constants; `measured` says when, where and by which commands.

    `bytes_per_word` is the memory of `bpe` for each distinct word, beside what its row says.
    """

    measured: dict[str, dict[str, Any]]
    start_cpu_s: float
    bytes_per_word: float
    stages: dict[str, Stage]
    crawl: Crawl
    corpora: dict[str, Corpus]
    nodes: dict[str, Node]


def load(file: Path) -> Costs:
    """Reads the constants.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not hold what it must.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; run from the project's root, or `{MEASURE}`")
    try:
        told = json.loads(file.read_bytes())
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']}; expected {FORMAT}")
        return Costs(
            measured=told["measured"],
            start_cpu_s=told["start_cpu_s"],
            bytes_per_word=told["bytes_per_word"],
            stages={name: Stage(**one) for name, one in told["stages"].items()},
            crawl=Crawl(**told["crawl"]),
            corpora={name: Corpus(**one) for name, one in told["corpora"].items()},
            nodes={name: Node(**one) for name, one in told["nodes"].items()},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read ({error}); mend it or run `{MEASURE}`") from error
