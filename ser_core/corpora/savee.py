"""SAVEE: four men, seven emotions, 480 clips."""

import re
from pathlib import Path

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<emotion>[a-z]{1,2})(?P<sentence>\d\d)")
_SPEAKERS = frozenset({"DC", "JE", "JK", "KL"})


def name_with_speaker(path: Path) -> str:
    """Clip name with the speaker in it, who is a folder in the publisher's layout.

    Args:
        path: Such as `AudioData/DC/a01.wav`, or `DC_a01.wav` of the flat layout.

    Returns:
        `DC_a01` for both.
    """
    speaker = path.parent.name
    if speaker in _SPEAKERS and not path.stem.startswith(speaker):
        return f"{speaker}_{path.stem}"
    return path.stem


def parse_name(name: str) -> NameParts | None:
    """Read a name such as `DC_a01`.

    Args:
        name: Speaker, emotion and sentence.

    Returns:
        Its parts; None for any other file.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return NameParts(
        speaker=match["speaker"],
        sex="male",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["emotion"] + match["sentence"],  # counted anew for each emotion
    )


SAVEE = Corpus(
    name="savee",
    title="Surrey Audio-Visual Expressed Emotion database",
    source="https://kahlan.eps.surrey.ac.uk/savee/",
    licence="LicenseRef-research-only",
    citation=(
        "Haq S, Jackson PJB (2010). Multimodal emotion recognition. In: Machine Audition: "
        "Principles, Algorithms and Systems, IGI Global, 398-423."
    ),
    folders=("savee", "SAVEE", "AudioData"),
    n_clips=480,
    emotions={
        "a": "angry",
        "d": "disgust",
        "f": "fearful",
        "h": "happy",
        "n": "neutral",
        "sa": "sad",
        "su": "surprised",
    },
    parse=parse_name,
    clip_name=name_with_speaker,
)
