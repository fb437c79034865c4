"""RAVDESS song: 23 of the RAVDESS actors sing the two sentences, six emotions, 1,012 clips."""

from dataclasses import replace
from functools import partial

from ser_core.corpora.base import Archive
from ser_core.corpora.ravdess import RAVDESS, parse_fields

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
