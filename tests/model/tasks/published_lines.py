"""Files in the forms of all known sets, as small as they can be."""

import json
from pathlib import Path

from model.tasks.registry import SETS

CLOZE = "\n".join(
    [
        *(f"{i} The old man went to the sea , they say ." for i in range(1, 21)),
        "21 She thought XXXXX had seen the lamp .\tBob\t\tAnn|Bob|Cleo|Dan|Eve|Fay|Gus|Hal|Ida|Jo",
        "",
        "",
    ]
)
COQA = {
    "version": "1.0",
    "data": [
        {
            "source": "wikipedia",
            "id": "story-1",
            "filename": "a.txt",
            "story": "The lantern was red. Ann lit it.",
            "questions": [
                {"input_text": "What was red?", "turn_id": 1},
                {"input_text": "Who lit it?", "turn_id": 2},
            ],
            "answers": [
                {"span_start": 0, "span_end": 11, "input_text": "the lantern", "turn_id": 1},
                {"span_start": 21, "span_end": 24, "input_text": "Ann", "turn_id": 2},
            ],
            "additional_answers": {
                "0": [
                    {"span_start": 0, "span_end": 11, "input_text": "A lantern", "turn_id": 1},
                    {"span_start": 21, "span_end": 24, "input_text": "Ann did", "turn_id": 2},
                ]
            },
        }
    ],
}
NEWS = (
    ",id,article,highlights\n"
    '0,a1,"It rained. The river rose. Nobody, they said, was hurt. It went on.","It rained .\n'
    'No one hurt ."\n'
    '1,a2,"A lantern fell. It broke.","The lantern broke ."\n'
)
CONTENTS = {
    "lambada_openai": "\n".join(
        json.dumps({"text": f"he lit the old lantern {w}"}) for w in "abcde"
    ),
    "lambada_plain": "he did n't see the lantern\nshe said , `` here ''\n",
    "winograd": "I saw [MASK] .\n[MASK]\nthe cat ,Ann\nAnn\n\n",
    "ptb": " he did n't pay $ N \n no \n",
    "wikitext2": " \n = One = \n \n a @-@ b , c \n",
    "wikitext103": " \n = One = \n \n a @-@ b , c \n",
    "one_billion": "He did n't pay .\nThe lantern , she said .\n",
    "enwik8": '<mediawiki xml:lang="en">é</mediawiki>\n',
    "text8": " anarchism originated as a term of abuse",
    "cbt_cn_valid": CLOZE,
    "cbt_cn_test": CLOZE,
    "cbt_ne_valid": CLOZE,
    "cbt_ne_test": CLOZE,
    "coqa": json.dumps(COQA),
    "cnn_dailymail": NEWS,
    "cnn_dailymail_sample": NEWS,
    "wmt14_en_fr": '<doc docid="d"><seg id="1">A lamp &amp; oil</seg>\n<seg id="2">No</seg></doc>',
    "wmt14_fr_en": '<doc docid="d"><seg id="1">Une lampe</seg>\n<seg id="2">Non</seg></doc>',
    "nq_open": '{"question": "who lit it", "answer": ["Ann", "Ann Lee"]}\n'
    '{"question": "what was lit", "answer": ["the lantern"]}\n',
}


def write(folder: Path) -> Path:
    """Writes a mirror folder that holds every known set; both files of a set get its content."""
    for known in SETS:
        for name, _ in known.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(CONTENTS[known.name], encoding="utf-8")
    return folder
