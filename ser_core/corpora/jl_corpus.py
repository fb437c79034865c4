"""JL-Corpus: four New Zealand actors, five primary and five secondary emotions, 2,400 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(
    r"(?P<speaker>(?P<sex>female|male)[12])_(?P<emotion>[a-z]+)_(?P<sentence>\d+[ab])_(?P<session>\d)"
)
_SECONDARY = "a secondary emotion of the publisher, without counterpart among the eight"


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `male1_angry_1a_1`."""
    return NameParts(
        speaker=match["speaker"],
        sex="female" if match["sex"] == "female" else "male",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["sentence"],
    )


JL_CORPUS = Corpus(
    name="jl-corpus",
    title="JL-Corpus, emotional speech of New Zealand English",
    source="https://www.kaggle.com/datasets/tli725/jl-corpus",
    licence="CC0-1.0",
    citation=(
        "James J, Tian L, Watson CI (2018). An open source emotional speech corpus for human "
        "robot interaction applications. Interspeech 2018: 2768-2772."
    ),
    folders=("jl_corpus", "jl-corpus", "JL-Corpus", "Raw JL corpus (unchecked and unannotated)"),
    n_clips=2_400,
    emotions={
        "angry": "angry",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
    },
    pattern=_NAME,
    parse_name=parse_name,
    dropped={
        "excited": "the publisher sets it apart from happy, and the eight have one of the two",
        "anxious": "a secondary emotion of the publisher; unease, which is less than fearful",
        "apologetic": _SECONDARY,
        "assertive": _SECONDARY,
        "concerned": _SECONDARY,
        "encouraging": _SECONDARY,
    },
)
