"""Other engines' texts of the pages in WARC files, run by the interpreter of `.venv-bench`.

python peer_engines.py WARC_FOLDER OUTPUT_FOLDER trafilatura|resiliparse|justext|readability
"""

import json
import sys
from pathlib import Path

import justext
import lxml.html
import readability
import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from warcio.archiveiterator import ArchiveIterator


def _trafilatura(markup: str) -> str:
    return trafilatura.extract(markup, include_comments=False) or ""


def _resiliparse(markup: str) -> str:
    return extract_plain_text(markup, main_content=True)


def _justext(markup: str) -> str:
    stop_words = justext.get_stoplist("English")
    paragraphs = justext.justext(markup.encode(), stop_words)
    return "\n".join(p.text for p in paragraphs if not p.is_boilerplate)


def _readability(markup: str) -> str:
    return lxml.html.fromstring(readability.Document(markup).summary()).text_content()


ENGINES = {
    "trafilatura": _trafilatura,
    "resiliparse": _resiliparse,
    "justext": _justext,
    "readability": _readability,
}


def main() -> None:
    """Writes one JSON object per page, as datatrove's writer does."""
    warcs, output, engine = sys.argv[1:]
    Path(output).mkdir(parents=True, exist_ok=True)
    with (Path(output) / "texts.jsonl").open("w") as lines:
        for path in sorted(Path(warcs).glob("*.warc.gz")):
            with path.open("rb") as stream:
                for record in ArchiveIterator(stream):
                    if record.rec_type == "response":
                        url = record.rec_headers["WARC-Target-URI"]
                        text = ENGINES[engine](record.content_stream().read().decode())
                        lines.write(json.dumps({"text": text, "metadata": {"url": url}}) + "\n")


if __name__ == "__main__":
    main()
