"""CREMA-D: 91 actors of many ages and origins, twelve sentences, six emotions, 7,442 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(
    r"(?P<actor>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<intensity>LO|MD|HI|XX?)"
)
_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "X": "", "XX": ""}
# fmt: off
_WOMEN = frozenset({
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025,
    1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060,
    1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
})
# fmt: on
"""Actresses, from the publisher's VideoDemographics.csv."""


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `1001_DFA_ANG_XX`."""
    return NameParts(
        speaker=match["actor"],
        sex="female" if int(match["actor"]) in _WOMEN else "male",
        emotion_code=match["emotion"],
        intensity=_INTENSITIES[match["intensity"]],
        statement=match["sentence"],
    )


CREMA_D = Corpus(
    name="crema-d",
    title="Crowd-sourced Emotional Multimodal Actors Dataset",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="ODbL-1.0",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: "
        "Crowd-sourced Emotional Multimodal Actors Dataset. IEEE Transactions on Affective "
        "Computing 5(4): 377-390."
    ),
    # AudioWAV before the rest: the publisher has the same clips as MP3.
    folders=("crema_d/AudioWAV", "crema_d", "CREMA-D/AudioWAV", "CREMA-D", "AudioWAV"),
    n_clips=7_442,
    emotions={
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fearful",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    },
    pattern=_NAME,
    parse_name=parse_name,
)
