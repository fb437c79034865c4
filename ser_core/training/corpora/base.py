"""What every corpus loader says: where its clips come from and what their names mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ser_core.errors import CorpusError

AUDIO_SUFFIXES = frozenset({".wav", ".opus", ".flac", ".ogg", ".mp3"})

Sex = Literal["female", "male"]


@dataclass(frozen=True, slots=True)
class NameParts:
    """What a file name tells, in the publisher's own codes.

    Attributes:
        speaker: Speaker within the corpus.
        sex: Sex of the speaker as the publisher gives it.
        emotion_code: The publisher's code for the emotion.
        intensity: `normal`, `strong` or what else the publisher says; may be empty.
        statement: Which sentence is spoken.
    """

    speaker: str
    sex: Sex
    emotion_code: str
    intensity: str
    statement: str


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording.

    Attributes:
        path: The file.
        corpus: Name of the corpus.
        speaker: `corpus/speaker`, unique over all corpora.
        sex: Sex of the speaker.
        emotion: One of `ser_core.labels.LABELS`.
        intensity: As in `NameParts`.
        statement: As in `NameParts`.
    """

    path: Path
    corpus: str
    speaker: str
    sex: Sex
    emotion: str
    intensity: str
    statement: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """A published collection of acted speech.

    Attributes:
        name: Short name, used in tables and on the command line.
        title: The publisher's title.
        source: Where the publisher keeps it.
        licence: SPDX identifier of its licence.
        citation: Whom to cite.
        folders: Folder names, below the data folder, that it is known under.
        emotions: The publisher's codes, mapped onto ours.
        parse: File name without suffix to its parts; None if it is no clip of this
            corpus.
        dropped: The publisher's codes that have no counterpart, with the reason.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    folders: tuple[str, ...]
    emotions: Mapping[str, str]
    parse: Callable[[str], NameParts | None]
    dropped: Mapping[str, str] = field(default_factory=dict)

    def is_present(self, data: Path) -> bool:
        """Whether the data folder holds this corpus under one of its names."""
        return any((data / folder).is_dir() for folder in self.folders)

    def find_clips(self, data: Path) -> list[Clip]:
        """Find every labelled clip, in the publisher's layout or a flat one.

        Args:
            data: Folder that holds a folder for each corpus.

        Returns:
            The clips sorted by file name; a name that stands twice, as in some
            re-packed downloads, counts once.

        Raises:
            CorpusError: The corpus is not there, or none of its files is a clip of it.
        """
        roots = [data / folder for folder in self.folders if (data / folder).is_dir()]
        if not roots:
            raise CorpusError(
                f"{self.name} is not in {data}: no folder {' or '.join(self.folders)}. "
                f"Fetch it from {self.source}."
            )
        files = {
            path.stem: path
            for root in roots
            for path in sorted(root.rglob("*"))
            if path.suffix.lower() in AUDIO_SUFFIXES
        }
        clips = [clip for stem in sorted(files) if (clip := self._clip(files[stem]))]
        if not clips:
            raise CorpusError(
                f"{roots[0]} holds {len(files)} sound files, and none is named as {self.name}'s. "
                f"Fetch the corpus from {self.source} and keep its file names."
            )
        return clips

    def _clip(self, path: Path) -> Clip | None:
        parts = self.parse(path.stem)
        if parts is None or parts.emotion_code in self.dropped:
            return None
        return Clip(
            path=path,
            corpus=self.name,
            speaker=f"{self.name}/{parts.speaker}",
            sex=parts.sex,
            emotion=self.emotions[parts.emotion_code],
            intensity=parts.intensity,
            statement=parts.statement,
        )
