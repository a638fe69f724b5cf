"""Every evaluation set that is known: where it comes from, its bytes, its licence, its size.

Nothing is downloaded and nothing is shipped: a user brings the files in a mirror folder, laid out
as `file` says. A file counts as the published one by its SHA-256. `licence` repeats what the source
states; it is a note, not advice.
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal["lambada_json", "lambada_plain", "winograd", "ptb", "wikitext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSet:
    """One known set.

    Attributes:
        name: Also the file's name in `data/eval/`.
        use: What the paper does with it.
        split: Which part of the published set.
        file: Path below the mirror folder.
        form: How the file is read; see `evalsets`.
        url: Where it was published.
        sha256: Of the published file.
        licence: As stated at the source.
        n_units: Counted in the file when it is read.
        unit: What is counted.
    """

    name: str
    use: str
    split: str
    file: str
    form: Form
    url: str
    sha256: str
    licence: str
    n_units: int
    unit: str


HELDOUT = "heldout"
LASTWORD = "heldout_lastword"

WORDS = "words, one <eos> per line included"

SETS = (
    EvalSet(
        name="lambada_openai",
        use="GPT-2, section 3.3: accuracy and perplexity of the last word",
        split="test",
        file="lambada/lambada_test.jsonl",
        form="lambada_json",
        url="https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
        sha256="4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
        licence="LAMBADA: CC BY 4.0; passages from BookCorpus",
        n_units=5153,
        unit="passages",
    ),
    EvalSet(
        name="lambada_plain",
        use="GPT-2, section 3.3: the set as its authors published it, tokenized and lower-cased",
        split="test",
        file="lambada/lambada_test_plain_text.txt",
        form="lambada_plain",
        url="https://zenodo.org/records/2630551",
        sha256="4ab6062b68422bf2e83653d367c9765d42404f7ec21b8b59b6518b45606aaef2",
        licence="LAMBADA: CC BY 4.0; passages from BookCorpus",
        n_units=5153,
        unit="passages",
    ),
    EvalSet(
        name="winograd",
        use="GPT-2, section 3.4: Winograd schemata, full and partial scoring",
        split="WSC273",
        file="winograd/wsc273.txt",
        form="winograd",
        url="https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.html",
        sha256="43103428d77df28b1bb37156eaf3c43a954a02b5dc7ff72453f5c54abf394bad",
        licence="Winograd schemas: CC BY 4.0",
        n_units=273,
        unit="schemata",
    ),
    EvalSet(
        name="ptb",
        use="GPT-2, section 3.1: Penn Treebank, perplexity per word",
        split="test",
        file="ptb/ptb.test.txt",
        form="ptb",
        url="https://catalog.ldc.upenn.edu/LDC99T42",
        sha256="91a2fa938d84baddaa05a3d67a5698924847eca8a4e7faa1518f3fd11c3d6d73",
        licence="Penn Treebank: LDC user agreement; not to be redistributed",
        n_units=82_429,
        unit=WORDS,
    ),
    EvalSet(
        name="wikitext2",
        use="GPT-2, section 3.1: WikiText-2, perplexity per word",
        split="test",
        file="wikitext-2/wiki.test.tokens",
        form="wikitext",
        url="https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
        sha256="d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
        licence="WikiText: CC BY-SA 3.0",
        n_units=245_569,
        unit=WORDS,
    ),
)
"""Sets that a mirror folder may hold; the default's own two are made, not found."""
