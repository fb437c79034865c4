"""RAVDESS: 24 actors, two sentences; 1,440 spoken clips of eight emotions, 1,012 sung of six."""

import re
from dataclasses import replace

from ser_core.corpora.base import Archive, Corpus, NameParts

_FIELDS = (
    r"-(?P<emotion>\d\d)-(?P<intensity>0[12])-(?P<statement>0[12])-(?P<repetition>0[12])"
    r"-(?P<actor>0[1-9]|1\d|2[0-4])"
)
_SPEECH, _SONG = (
    re.compile(f"03-(?P<channel>{code}){_FIELDS}") for code in ("01", "02")
)  # 03: audio-only; the publisher's films have the same sound
_CHANNELS = {"01": "speech", "02": "song"}
_INTENSITIES = {"01": "normal", "02": "strong"}
_STATEMENTS = {"01": "kids", "02": "dogs"}
_REPETITIONS = {"01": "first", "02": "second"}


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `03-01-05-02-01-01-12`, angry and strong speech."""
    return NameParts(
        speaker=match["actor"],
        sex="male" if int(match["actor"]) % 2 else "female",
        emotion_code=match["emotion"],
        intensity=_INTENSITIES[match["intensity"]],
        statement=_STATEMENTS[match["statement"]],
        repetition=_REPETITIONS[match["repetition"]],
        modality="audio-only",
        channel=_CHANNELS[match["channel"]],
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
    pattern=_SPEECH,
    parse_name=parse_name,
    archives=(
        Archive(
            url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
            md5="bc696df654c87fed845eb13823edef8a",
        ),
    ),
)

RAVDESS_SONG = replace(
    RAVDESS,
    name="ravdess-song",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song, song",
    # The two archives unpack into the same Actor_01 to Actor_24, so song may lie among speech.
    folders=("ravdess_song", "RAVDESS_song", "Audio_Song_Actors_01-24", *RAVDESS.folders),
    n_clips=1_012,
    emotions={code: RAVDESS.emotions[code] for code in ("01", "02", "03", "04", "05", "06")},
    pattern=_SONG,
    speakers="ravdess",
    archives=(
        Archive(
            url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
            md5="5411230427d67a21e18aa4d466e6d1b9",
        ),
    ),
)
