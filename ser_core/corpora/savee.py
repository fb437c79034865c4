"""SAVEE: four men, seven emotions, 480 clips."""

import re
from pathlib import Path

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<emotion>[a-z]{1,2})(?P<sentence>\d\d)")


def name_with_speaker(path: Path) -> str:
    """Return `DC_a01` for `AudioData/DC/a01.wav`, the publisher's layout, and for `DC_a01.wav`."""
    speaker = path.parent.name
    if speaker in ("DC", "JE", "JK", "KL") and not path.stem.startswith(speaker):
        return f"{speaker}_{path.stem}"
    return path.stem


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `DC_a01`."""
    return NameParts(
        speaker=match["speaker"],
        sex="male",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["emotion"] + match["sentence"],  # numbered within each emotion
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
    pattern=_NAME,
    parse_name=parse_name,
    clip_name=name_with_speaker,
)
