"""ASED: Amharic, 65 speakers, five emotions, 2,474 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(
    r"(?P<emotion>[A-Za-z]\d)-(?P<sentence>\d\d)-(?P<repetition>\d\d)"
    r"-(?P<sex>01|02)-(?P<speaker>\d\d)"
)


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `n1-01-01-02-04`; some numbers occur with both sexes."""
    return NameParts(
        speaker=match["speaker"],
        sex="female" if match["sex"] == "01" else "male",
        emotion_code=match["emotion"].lower(),
        intensity="",
        statement=match["sentence"],
    )


ASED = Corpus(
    name="ased",
    title="Amharic Speech Emotion Dataset",
    source="https://github.com/Ethio2021/ASED_V1",
    licence="LicenseRef-not-stated",
    citation=(
        "Retta EA, Almekhlafi E, Sutcliffe R, Mhamed M, Ali H, Feng J (2023). A New Amharic "
        "Speech Emotion Dataset and Classification Benchmark. ACM Transactions on Asian and "
        "Low-Resource Language Information Processing 22(1)."
    ),
    folders=("ased", "ASED", "ASED_V1"),
    n_clips=2_474,
    emotions={"n1": "neutral", "f2": "fearful", "h3": "happy", "s4": "sad", "a5": "angry"},
    pattern=_NAME,
    parse_name=parse_name,
    language="am",
)
