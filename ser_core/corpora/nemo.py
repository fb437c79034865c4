"""nEMO: Polish, nine actors, ninety sentences, six emotions, 4,481 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(r"(?P<actor>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_(?P<sentence>\d+)")
_WOMEN = frozenset({"EB0", "IC0", "KD0", "MK0"})
"""Actresses, from the publisher's table."""


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `EB0_anger_1`."""
    return NameParts(
        speaker=match["actor"],
        sex="female" if match["actor"] in _WOMEN else "male",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["sentence"],
    )


NEMO = Corpus(
    name="nemo",
    title="nEMO: Dataset of Emotional Speech in Polish",
    source="https://huggingface.co/datasets/amu-cai/nEMO",
    licence="CC-BY-NC-SA-4.0",
    citation=(
        "Christop I (2024). nEMO: Dataset of Emotional Speech in Polish. "
        "LREC-COLING 2024: 12111-12116."
    ),
    folders=("nemo", "nEMO"),
    n_clips=4_481,
    emotions={
        "neutral": "neutral",
        "happiness": "happy",
        "sadness": "sad",
        "anger": "angry",
        "fear": "fearful",
        "surprised": "surprised",
    },
    pattern=_NAME,
    parse_name=parse_name,
    language="pl",
)
