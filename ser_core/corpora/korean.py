"""Emotion-TTS open data: Korean, 15 speakers, four emotions, a sample of 300 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(r"(?P<speaker>(?:ne|em)[a-z])(?P<emotion>00[0-3])(?P<sentence>\d\d)")
_WOMEN = frozenset({"ema", "emb", "nea", "neb", "nec", "ned", "nee"})
"""Women, from the publisher's table."""


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `nea00101`."""
    return NameParts(
        speaker=match["speaker"],
        sex="female" if match["speaker"] in _WOMEN else "male",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["sentence"],
    )


KOREAN = Corpus(
    name="korean",
    title="Korean Emotion-TTS Open Database, sample",
    source="https://github.com/emotiontts/emotiontts_open_db",
    licence="CC-BY-NC-SA-4.0",
    citation="Emotion-TTS project (2019). Korean emotional speech, open database, sample.",
    folders=("korean", "emotiontts_open_db"),
    n_clips=300,
    emotions={"000": "neutral", "001": "happy", "002": "angry", "003": "sad"},
    pattern=_NAME,
    parse_name=parse_name,
    language="ko",
)
