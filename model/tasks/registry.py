"""Every evaluation set that is known: where it comes from, its bytes, its licence, its size.

Nothing is shipped, and the graph downloads nothing: a user brings the files in a mirror folder,
laid out as `files` says, or fetches them into it (`python -m stages.download`). A file is the
published one by its SHA-256. `licence` repeats what the source states; it is a note, not advice. Of
some sets no copy was at hand: `docs/evalsets.md` says where their form is known from, and only
`evalsets.accept` lets their files in.
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal[
    "lambada_json", "lambada_plain", "winograd", "ptb", "wikitext",
    "wmt", "nq_open", "cnn_dailymail", "coqa",
    "cbt", "enwik8", "text8", "lines",
]  # fmt: skip

UNKNOWN = ""  # digest of a file that was not at hand
BROUGHT = ""  # not published as a file of this form, or not to be redistributed


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSet:
    """One known set.

    Attributes:
        name: Also the file's name in `data/eval/`.
        use: What the paper does with it.
        split: Which part of the published set.
        files: Path below the mirror folder and SHA-256, `UNKNOWN` where no copy was at hand;
            several files are read together.
        form: How they are read; see `evalsets`.
        url: Where they were published.
        fetch: Address of the file, or of an archive that holds all files under their own names;
            `BROUGHT` where a user must bring them.
        licence: As stated at the source.
        n_units: Counted in the file when it is read.
        unit: What is counted.
    """

    name: str
    use: str
    split: str
    files: tuple[tuple[str, str], ...]
    form: Form
    url: str
    fetch: str
    licence: str
    n_units: int
    unit: str

    @property
    def file(self) -> str:
        """All paths, in a reader's words."""
        return " and ".join(path for path, _ in self.files)


HELDOUT = "heldout"
LASTWORD = "heldout_lastword"

WORDS = "words, one <eos> per line included"

_CLOZE = (("cn", "common nouns"), ("ne", "named entities"))
_CLOZE_SPLITS = (("valid", 2000), ("test", 2500))
_WMT = {
    "src.en": "5521ed9b1d07763c7e8d7ddfc0fda269cd114612a6283bd3836979ea4dd10a26",
    "src.fr": "31f98dd65e89ee6d7c3de9b72709a7e4d3f28171e8c2a81802e11cf6b36f25ed",
    "ref.en": "c73727c954e92396eb3eed1b2730804a77130c1c3a8bc6a3f5646766fc92a8eb",
    "ref.fr": "c57025c8a338c642fe3ad0206ddc75d258a5584e1d470b75f37af2fb666d7e93",
}


def _cloze(kind: str, word: str, split: str, n: int) -> EvalSet:
    """One file of the Children's Book Test; the paper used the validation split."""
    return EvalSet(
        name=f"cbt_{kind}_{split}",
        use=f"GPT-2, section 3.2: Children's Book Test, {word}",
        split=split,
        files=((f"cbt/cbtest_{kind.upper()}_{split}_{n}ex.txt", UNKNOWN),),
        form="cbt",
        url="http://www.thespermwhale.com/jaseweston/babi/CBTest.tgz",
        fetch="http://www.thespermwhale.com/jaseweston/babi/CBTest.tgz",
        licence="Children's Book Test: GFDL 1.3; the books are in the public domain",
        n_units=n,
        unit="questions",
    )


def _translation(source: str, target: str) -> EvalSet:
    """One direction of newstest2014."""
    names = (f"src.{source}", f"ref.{target}")
    return EvalSet(
        name=f"wmt14_{source}_{target}",
        use="GPT-2, section 3.7: translation, BLEU",
        split="newstest2014",
        files=tuple((f"wmt14/newstest2014-fren-{name}.sgm", _WMT[name]) for name in names),
        form="wmt",
        url="https://www.statmt.org/wmt14/test-full.tgz",
        fetch="https://www.statmt.org/wmt14/test-full.tgz",
        licence="WMT14 test sets: for research; no licence is stated in the files",
        n_units=3003,
        unit="segments",
    )


SETS = (
    EvalSet(
        name="lambada_openai",
        use="GPT-2, section 3.3: accuracy and perplexity of the last word",
        split="test",
        files=(
            (
                "lambada/lambada_test.jsonl",
                "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
            ),
        ),
        form="lambada_json",
        url="https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
        fetch="https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
        licence="LAMBADA: CC BY 4.0; passages from BookCorpus",
        n_units=5153,
        unit="passages",
    ),
    EvalSet(
        name="lambada_plain",
        use="GPT-2, section 3.3: the set as its authors published it, tokenized and lower-cased",
        split="test",
        files=(
            (
                "lambada/lambada_test_plain_text.txt",
                "4ab6062b68422bf2e83653d367c9765d42404f7ec21b8b59b6518b45606aaef2",
            ),
        ),
        form="lambada_plain",
        url="https://zenodo.org/records/2630551",
        fetch="https://zenodo.org/records/2630551/files/lambada-dataset.tar.gz",
        licence="LAMBADA: CC BY 4.0; passages from BookCorpus",
        n_units=5153,
        unit="passages",
    ),
    EvalSet(
        name="winograd",
        use="GPT-2, section 3.4: Winograd schemata, full and partial scoring",
        split="WSC273",
        files=(
            (
                "winograd/wsc273.txt",
                "43103428d77df28b1bb37156eaf3c43a954a02b5dc7ff72453f5c54abf394bad",
            ),
        ),
        form="winograd",
        url="https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.html",
        fetch=BROUGHT,
        licence="Winograd schemas: CC BY 4.0",
        n_units=273,
        unit="schemata",
    ),
    EvalSet(
        name="ptb",
        use="GPT-2, section 3.1: Penn Treebank, perplexity per word",
        split="test",
        files=(
            (
                "ptb/ptb.test.txt",
                "91a2fa938d84baddaa05a3d67a5698924847eca8a4e7faa1518f3fd11c3d6d73",
            ),
        ),
        form="ptb",
        url="https://catalog.ldc.upenn.edu/LDC99T42",
        fetch=BROUGHT,
        licence="Penn Treebank: LDC user agreement; not to be redistributed",
        n_units=82_429,
        unit=WORDS,
    ),
    EvalSet(
        name="wikitext2",
        use="GPT-2, section 3.1: WikiText-2, perplexity per word",
        split="test",
        files=(
            (
                "wikitext-2/wiki.test.tokens",
                "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
            ),
        ),
        form="wikitext",
        url="https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
        fetch="https://wikitext.smerity.com/wikitext-2-v1.zip",
        licence="WikiText: CC BY-SA 3.0",
        n_units=245_569,
        unit=WORDS,
    ),
    EvalSet(
        name="wikitext103",
        use="GPT-2, section 3.1: WikiText-103, perplexity per word",
        split="test",
        files=(("wikitext-103/wiki.test.tokens", UNKNOWN),),
        form="wikitext",
        url="https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-103-v1.zip",
        fetch="https://wikitext.smerity.com/wikitext-103-v1.zip",
        licence="WikiText: CC BY-SA 3.0",
        n_units=245_569,
        unit=WORDS,
    ),
    EvalSet(
        name="one_billion",
        use="GPT-2, section 3.1: One Billion Word, perplexity per word",
        split="heldout-00000-of-00050",
        files=(("1bw/news.en.heldout-00000-of-00050", UNKNOWN),),
        form="lines",
        url="https://www.statmt.org/lm-benchmark/1-billion-word-language-modeling-benchmark-r13output.tar.gz",
        fetch="https://www.statmt.org/lm-benchmark/1-billion-word-language-modeling-benchmark-r13output.tar.gz",
        licence="text of WMT11 news crawls; no licence is stated",
        n_units=159_658,
        unit=WORDS,
    ),
    EvalSet(
        name="enwik8",
        use="GPT-2, section 3.1: bits per byte",
        split="last 5,000,000 bytes",
        files=(
            ("enwik8/enwik8", "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"),
        ),
        form="enwik8",
        url="https://mattmahoney.net/dc/enwik8.zip",
        fetch="https://mattmahoney.net/dc/enwik8.zip",
        licence="Wikipedia: GFDL and CC BY-SA",
        n_units=5_000_000,
        unit="bytes",
    ),
    EvalSet(
        name="text8",
        use="GPT-2, section 3.1: bits per character",
        split="last 5,000,000 characters",
        files=(("text8/text8", UNKNOWN),),
        form="text8",
        url="https://mattmahoney.net/dc/text8.zip",
        fetch="https://mattmahoney.net/dc/text8.zip",
        licence="Wikipedia: GFDL and CC BY-SA",
        n_units=5_000_000,
        unit="characters",
    ),
    *(_cloze(kind, word, split, n) for kind, word in _CLOZE for split, n in _CLOZE_SPLITS),
    EvalSet(
        name="coqa",
        use="GPT-2, section 3.5: reading comprehension, F1",
        split="dev",
        files=(("coqa/coqa-dev-v1.0.json", UNKNOWN),),
        form="coqa",
        url="https://nlp.stanford.edu/data/coqa/coqa-dev-v1.0.json",
        fetch="https://nlp.stanford.edu/data/coqa/coqa-dev-v1.0.json",
        licence="CoQA: by domain, CC BY-SA 4.0, MSR-LA, Apache-2.0 and RACE's own",
        n_units=7983,
        unit="questions",
    ),
    EvalSet(
        name="cnn_dailymail",
        use="GPT-2, section 3.6: summaries, ROUGE",
        split="test",
        files=(("cnn_dailymail/test.csv", UNKNOWN),),
        form="cnn_dailymail",
        url="https://huggingface.co/datasets/abisee/cnn_dailymail",
        fetch=BROUGHT,
        licence="dataset card: Apache-2.0; the articles are CNN's and Daily Mail's",
        n_units=11_490,
        unit="articles",
    ),
    EvalSet(
        name="cnn_dailymail_sample",
        use="summaries, ROUGE: 100 articles of the training split, not the paper's split",
        split="train, 100 articles",
        files=(
            (
                "cnn_dailymail/train_sample.csv",
                "98daae8a5e386b7e6413a76bb574a799dc22985c55cf847b62103dd6324c5d90",
            ),
        ),
        form="cnn_dailymail",
        url="https://github.com/EileenFeng/Text-Summarization-NLP",
        fetch=BROUGHT,
        licence="dataset card: Apache-2.0; the articles are CNN's and Daily Mail's",
        n_units=100,
        unit="articles",
    ),
    _translation("en", "fr"),
    _translation("fr", "en"),
    EvalSet(
        name="nq_open",
        use="GPT-2, section 3.8: Natural Questions, exact match",
        split="dev",
        files=(
            (
                "nq_open/NQ-open.dev.jsonl",
                "f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616",
            ),
        ),
        form="nq_open",
        url="https://github.com/google-research-datasets/natural-questions/tree/master/nq_open",
        fetch="https://raw.githubusercontent.com/google-research-datasets/natural-questions/master/nq_open/NQ-open.dev.jsonl",
        licence="Natural Questions: CC BY-SA 3.0",
        n_units=3610,
        unit="questions",
    ),
)
"""Sets that a mirror folder may hold; the default's own two are made, not found."""
