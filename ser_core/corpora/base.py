"""What every corpus loader says: where its clips come from and what their names mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ser_core.errors import CorpusError, MissingCorpusError

AUDIO_SUFFIXES = frozenset({".wav", ".opus", ".flac", ".ogg", ".mp3"})

Sex = Literal["female", "male", "unknown"]


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
        speaker: `pool/speaker`, one person over all corpora; see `Corpus.speakers`.
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
class Archive:
    """A file that the publisher offers for download.

    Attributes:
        url: Where it is.
        md5: Its MD5 as the publisher states it, in hexadecimal digits.
    """

    url: str
    md5: str


def file_stem(path: Path) -> str:
    """File name without its suffix: what most publishers put all parts into."""
    return path.stem


@dataclass(frozen=True, slots=True)
class Corpus:
    """A published collection of acted speech.

    Attributes:
        name: Short name, used in tables and on the command line.
        title: The publisher's title.
        source: Where the publisher keeps it.
        licence: SPDX identifier of its licence.
        citation: Whom to cite.
        folders: Folder names, below the data folder, that it is known under; where a
            clip lies in several, the earlier folder wins.
        n_clips: How many the publisher has, those of dropped emotions too.
        emotions: The publisher's codes, mapped onto ours.
        parse: Clip name to its parts; None if it is no clip of this corpus.
        dropped: The publisher's codes that have no counterpart, with the reason.
        speakers: Pool that speaker names are unique in; the corpus's own name where
            empty. Two corpora recorded with the same people share one, so that nobody
            is trained on under one name and tested on under another.
        archives: Downloads whose checksum the publisher states.
        clip_name: A file's clip name, what `parse` reads.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    folders: tuple[str, ...]
    n_clips: int
    emotions: Mapping[str, str]
    parse: Callable[[str], NameParts | None]
    dropped: Mapping[str, str] = field(default_factory=dict)
    speakers: str = ""
    archives: tuple[Archive, ...] = ()
    clip_name: Callable[[Path], str] = file_stem

    def is_present(self, data: Path) -> bool:
        """Whether the data folder holds this corpus under one of its names."""
        return bool(self._roots(data))

    def find_clips(self, data: Path) -> list[Clip]:
        """Find every labelled clip, in the publisher's layout or a flat one.

        Args:
            data: Folder that holds a folder for each corpus.

        Returns:
            The clips sorted by name; a name that stands twice, as in some re-packed
            downloads, counts once, and the first by folder and path is taken.

        Raises:
            MissingCorpusError: The corpus is not there, or none of its files is a clip of it.
            CorpusError: A name has an emotion code that the corpus does not know.
        """
        if not self.is_present(data):
            raise MissingCorpusError(
                f"{self.name} is not in {data}: no folder {' or '.join(self.folders)}. "
                f"Download it from {self.source}."
            )
        files = self._sound_files(data)
        clips = [clip for name in sorted(files) if (clip := self._clip(name, files[name]))]
        if not clips:
            raise MissingCorpusError(
                f"{self._roots(data)[0]} contains {len(files)} audio files, but none is named like "
                f"{self.name}'s. Download the corpus from {self.source} and keep its file names."
            )
        return clips

    def find_files(self, data: Path) -> dict[str, Path]:
        """Find every file that is named as one of this corpus, those of dropped emotions too.

        Args:
            data: Folder that holds a folder for each corpus.

        Returns:
            Paths by clip name, as in `find_clips`; empty where the corpus is not there.
        """
        return {name: path for name, path in self._sound_files(data).items() if self.parse(name)}

    def _roots(self, data: Path) -> list[Path]:
        return [data / folder for folder in self.folders if (data / folder).is_dir()]

    def _sound_files(self, data: Path) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for root in self._roots(data):
            for path in sorted(root.rglob("*")):
                if path.suffix.lower() in AUDIO_SUFFIXES:
                    files.setdefault(self.clip_name(path), path)
        return files

    def _clip(self, name: str, path: Path) -> Clip | None:
        parts = self.parse(name)
        if parts is None or parts.emotion_code in self.dropped:
            return None
        if parts.emotion_code not in self.emotions:
            known = ", ".join([*self.emotions, *self.dropped])
            raise CorpusError(
                f"{path} has the emotion code {parts.emotion_code!r}; {self.name} uses {known}. "
                "Correct the name, or remove the file."
            )
        return Clip(
            path=path,
            corpus=self.name,
            speaker=f"{self.speakers or self.name}/{parts.speaker}",
            sex=parts.sex,
            emotion=self.emotions[parts.emotion_code],
            intensity=parts.intensity,
            statement=parts.statement,
        )
