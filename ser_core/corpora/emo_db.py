"""EMO-DB: ten actors, ten German sentences, seven emotions, 535 clips."""

import re

from ser_core.corpora.base import Archive, Corpus, NameParts

_NAME = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[A-Z])(?P<version>[a-z])")
_WOMEN = frozenset({"08", "09", "13", "14", "16"})


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `03a01Fa`."""
    return NameParts(
        speaker=match["speaker"],
        sex="female" if match["speaker"] in _WOMEN else "male",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["text"],
    )


EMO_DB = Corpus(
    name="emo-db",
    title="Berlin Database of Emotional Speech",
    source="https://zenodo.org/records/7447302",
    licence="CC-BY-4.0",  # the record's; the header inside the archive says CC0-1.0
    citation=(
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005). A database of German "
        "emotional speech. Interspeech 2005: 1517-1520."
    ),
    folders=("emo_db", "emodb", "EMO-DB", "EmoDB"),
    n_clips=535,
    emotions={
        "W": "angry",
        "E": "disgust",
        "A": "fearful",
        "F": "happy",
        "T": "sad",
        "N": "neutral",
    },
    pattern=_NAME,
    parse_name=parse_name,
    dropped={"L": "boredom has no counterpart among the eight"},
    archives=(
        Archive(
            url="https://zenodo.org/records/7447302/files/emodb.zip",
            md5="9d21362dbc5676ef3ab4745d83ced0db",
        ),
    ),
    language="de",
)
