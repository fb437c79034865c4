"""EmoSpeech: English keywords from India, noisy rooms and streets, four emotions, 2,700 clips."""

import re

from ser_core.corpora.base import Corpus, NameParts

_NAME = re.compile(
    r"(?P<word>[a-z]+)-(?P<scene>[a-z ]+)-(?P<emotion>calm|happy|angry|fearful)-(?P<time>.+)"
)


def parse_name(match: re.Match[str]) -> NameParts:
    """Return the parts of a name such as `bacho-safe-calm-20190712132258`.

    It says nothing about the speaker; the table of the clips may.
    """
    return NameParts(
        speaker="",
        sex="unknown",
        emotion_code=match["emotion"],
        intensity="",
        statement=match["word"],
    )


EMOSPEECH = Corpus(
    name="emospeech",
    title="EmoSpeech, balanced part",
    source="https://github.com/RakshakTeam/emospeech-dataset-v1",
    licence="CC-BY-NC-SA-4.0",
    citation="Rakshak team (2019). EmoSpeech dataset, version 1.",
    folders=("emospeech", "emospeech-dataset-v1"),
    n_clips=2_700,
    emotions={"calm": "calm", "happy": "happy", "angry": "angry", "fearful": "fearful"},
    pattern=_NAME,
    parse_name=parse_name,
)
