"""RAVDESS song: 23 of the RAVDESS actors sing the two sentences, six emotions, 1,012 clips."""

import re
from dataclasses import replace
from functools import partial

from ser_core.corpora.base import Archive, Corpus, NameParts

_NAME = re.compile(
    r"03-(?P<channel>0[12])-(?P<emotion>\d\d)-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])"
)
_INTENSITIES = {"01": "normal", "02": "strong"}
_STATEMENTS = {"01": "kids", "02": "dogs"}


def parse_fields(stem: str, *, channel: str) -> NameParts | None:
    """Read a name such as `03-01-05-02-01-01-12`: sound alone, speech, angry, strong.

    Args:
        stem: File name without its suffix.
        channel: `01` for speech, `02` for song.

    Returns:
        Its parts; None for the other channel, video or any other file.
    """
    match = _NAME.fullmatch(stem)
    if match is None or match["channel"] != channel:
        return None
    return NameParts(
        speaker=match["actor"],
        sex="male" if int(match["actor"]) % 2 else "female",
        emotion_code=match["emotion"],
        intensity=_INTENSITIES[match["intensity"]],
        statement=_STATEMENTS[match["statement"]],
    )


RAVDESS = Corpus(
    name="ravdess",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song, speech",
    source="https://zenodo.org/records/1188976",
    licence="CC-BY-NC-SA-4.0",
    citation=(
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional "
        "Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391."
    ),
    folders=("ravdess", "RAVDESS", "Audio_Speech_Actors_01-24"),
    n_clips=1_440,
    emotions={
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fearful",
        "07": "disgust",
        "08": "surprised",
    },
    parse=partial(parse_fields, channel="01"),
    archives=(
        Archive(
            url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
            md5="bc696df654c87fed845eb13823edef8a",
        ),
    ),
)


_SUNG = ("01", "02", "03", "04", "05", "06")

RAVDESS_SONG = replace(
    RAVDESS,
    name="ravdess-song",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song, song",
    # The two archives unpack into the same Actor_01 to Actor_24, so song may lie among speech.
    folders=("ravdess_song", "RAVDESS_song", "Audio_Song_Actors_01-24", *RAVDESS.folders),
    n_clips=1_012,
    emotions={code: RAVDESS.emotions[code] for code in _SUNG},
    parse=partial(parse_fields, channel="02"),
    speakers="ravdess",
    archives=(
        Archive(
            url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
            md5="5411230427d67a21e18aa4d466e6d1b9",
        ),
    ),
)
