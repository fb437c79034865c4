"""TESS: two actresses, 200 words in one carrier phrase, seven emotions, 2,800 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(r"(?P<actor>OAF?|YAF)_(?P<word>[a-z]+)_(?P<emotion>[a-z]+)")


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `OAF_back_angry`."""
    return NameParts(
        speaker="YAF" if match["actor"] == "YAF" else "OAF",  # one file is OA_bite_neutral
        sex="female",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["word"],
    )


TESS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set",
    source="https://doi.org/10.5683/SP2/E8H2MF",
    licence="CC-BY-NC-ND-4.0",
    citation=(
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). "
        "Borealis, doi:10.5683/SP2/E8H2MF."
    ),
    folders=("tess", "TESS", "TESS Toronto emotional speech set data"),
    n_clips=2_800,
    emotions={
        "neutral": "neutral",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "fear": "fearful",
        "disgust": "disgust",
        "ps": "surprised",
    },
    pattern=_NAME,
    parse_name=parse_name,
)
