"""TurEV-DB: Turkish, six actors, single words, four emotions, 1,735 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(r"(?P<actor>\d{4})_(?P<emotion>kz|hl|sk|mt)_(?P<word>\w+)")
_WOMEN = frozenset({"1234", "1984", "7895"})
"""Actresses, from the publisher's description."""


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `1157_kz_acik`."""
    return NameParts(
        speaker=match["actor"],
        sex="female" if match["actor"] in _WOMEN else "male",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["word"],
    )


TUREV = Corpus(
    name="turev",
    title="Turkish Emotion Voice Database",
    source="https://github.com/Xeonen/TurEV-DB",
    licence="CC-BY-NC-ND-4.0",
    citation=(
        "Canpolat SF, Ormanoğlu Z, Zeyrek D (2020). Turkish Emotion Voice Database (TurEV-DB). "
        "SLTU-CCURL 2020: 368-375."
    ),
    folders=("turev", "TurEV", "TurEV-DB"),
    n_clips=1_735,
    emotions={"kz": "angry", "hl": "sad", "sk": "calm", "mt": "happy"},
    pattern=_NAME,
    parse_name=parse_name,
    language="tr",
)
