"""The description of a corpus: where its clips come from and what their file names mean."""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Literal

from ser_core.errors import CorpusError, MissingCorpusError

AUDIO_SUFFIXES = frozenset(
    {
        ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".mp3", ".mp2", ".mpga", ".ogg", ".oga",
        ".opus", ".spx", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc",
        ".m4a", ".m4b", ".m4r", ".m4v", ".aac", ".adts", ".mp4", ".3gp", ".3g2", ".mov", ".qt",
        ".webm", ".weba", ".mka", ".mkv",
    }
)  # fmt: skip
"""Suffixes by which recordings are found in folders; the format is read from the content."""

SPEAKER_TABLE = "clips.csv"
"""Table in the folder of a corpus, with columns `name` and `speaker`, where names do not say it."""
UNKNOWN_SPEAKER = "unknown"
"""Speaker of all clips of a corpus whose speaker is not known, so that no split divides them."""

Sex = Literal["female", "male", "unknown"]


@dataclass(frozen=True, slots=True)
class NameParts:
    """The parts of a file name, in the publisher's codes.

    Attributes:
        speaker: Speaker within the corpus; empty where the name does not say it.
        sex: Sex of the speaker as the publisher gives it.
        emotion_code: The publisher's code for the emotion.
        intensity: Such as `normal` or `strong`; may be empty.
        statement: Which sentence is spoken.
        repetition: Which recording of this statement, such as `first`; may be empty.
        modality: Such as `audio-only`; may be empty.
        channel: `speech` or `song`; may be empty.
    """

    speaker: str
    sex: Sex
    emotion_code: str
    intensity: str
    statement: str
    repetition: str = ""
    modality: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording.

    Attributes:
        path: The file.
        corpus: Name of the corpus.
        speaker: `pool/speaker`, unique over all corpora; see `Corpus.speakers`.
        sex: Sex of the speaker.
        emotion: One of `ser_core.labels.LABELS`.
        intensity: As in `NameParts`.
        statement: As in `NameParts`.
        repetition: As in `NameParts`.
        modality: As in `NameParts`.
        channel: As in `NameParts`.
    """

    path: Path
    corpus: str
    speaker: str
    sex: Sex
    emotion: str
    intensity: str
    statement: str
    repetition: str = ""
    modality: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """A file that the publisher offers for download.

    Attributes:
        url: Where it is.
        md5: MD5 that the publisher states, in hexadecimal digits.
    """

    url: str
    md5: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """A published collection of emotional speech.

    Attributes:
        name: Short name, used in tables and on the command line.
        title: The publisher's title.
        source: Where the publisher keeps it.
        licence: SPDX identifier of its licence.
        citation: Whom to cite.
        folders: Its possible folders below the data folder; where a clip is in several,
            the earlier folder is used.
        n_clips: Number of clips published, those of dropped emotions included.
        emotions: The publisher's codes, mapped to `ser_core.labels.LABELS`.
        pattern: Matches the clip names of this corpus.
        parse_name: Maps such a match to the parts of the name.
        dropped: The publisher's codes that have no counterpart, with the reason.
        speakers: Pool in which speaker names are unique; the corpus's name if empty. Two
            corpora recorded with the same people share one, so that no speaker is in the
            training split under one name and in the test split under another.
        archives: Downloads whose checksum the publisher states.
        clip_name: Maps a path to the clip name that `pattern` matches.
        language: ISO 639-1 code of the language spoken.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    folders: tuple[str, ...]
    n_clips: int
    emotions: Mapping[str, str]
    pattern: re.Pattern[str]
    parse_name: Callable[[re.Match[str]], NameParts]
    dropped: Mapping[str, str] = field(default_factory=dict)
    speakers: str = ""
    archives: tuple[Archive, ...] = ()
    clip_name: Callable[[Path], str] = attrgetter("stem")
    language: str = "en"

    def parse(self, name: str) -> NameParts | None:
        """Return the parts of a clip name; None if it is no clip of this corpus."""
        match = self.pattern.fullmatch(name)
        return match and self.parse_name(match)

    def is_present(self, data: Path) -> bool:
        """Return whether the data folder has this corpus under one of its folder names."""
        return bool(self._roots(data))

    def find_clips(self, data: Path) -> list[Clip]:
        """Find every labelled clip, in the publisher's layout or a flat one.

        Args:
            data: Folder that holds a folder for each corpus.

        Returns:
            The clips sorted by name; a name found twice, as in some re-packed downloads,
            counts once, with the first path by folder and name.

        Raises:
            MissingCorpusError: There is no folder of the corpus, or no clip in it.
            CorpusError: A name has an emotion code that the corpus does not have.
        """
        if not self.is_present(data):
            raise MissingCorpusError(
                f"{self.name} is not in {data}: no folder {' or '.join(self.folders)}. "
                f"Download it from {self.source}."
            )
        files, speakers = self._sound_files(data), self._read_speakers(data)
        clips = [
            clip for name in sorted(files) if (clip := self._clip(name, files[name], speakers))
        ]
        if not clips:
            raise MissingCorpusError(
                f"{self._roots(data)[0]} contains {len(files)} audio files, but none is named like "
                f"{self.name}'s. Download the corpus from {self.source} and keep its file names."
            )
        return clips

    def find_files(self, data: Path) -> dict[str, Path]:
        """Find every file named like a clip of this corpus, those of dropped emotions included.

        Args:
            data: Folder that holds a folder for each corpus.

        Returns:
            Paths by clip name, as in `find_clips`; empty where the corpus is missing.
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

    def _read_speakers(self, data: Path) -> dict[str, str]:
        """Return the speaker by clip name from `SPEAKER_TABLE`, for names that do not say it."""
        speakers: dict[str, str] = {}
        for table in (root / SPEAKER_TABLE for root in self._roots(data)):
            if table.is_file():
                with table.open(encoding="utf-8", newline="") as file:
                    rows = csv.DictReader(file)
                    speakers |= {row.get("name", ""): row.get("speaker", "") for row in rows}
        return speakers

    def _clip(self, name: str, path: Path, speakers: Mapping[str, str]) -> Clip | None:
        parts = self.parse(name)
        if parts is None or parts.emotion_code in self.dropped:
            return None
        if parts.emotion_code not in self.emotions:
            known = ", ".join([*self.emotions, *self.dropped])
            raise CorpusError(
                f"{path} has the emotion code {parts.emotion_code!r}; {self.name} uses {known}. "
                "Correct the name, or remove the file."
            )
        speaker = parts.speaker or speakers.get(name) or UNKNOWN_SPEAKER
        return Clip(
            path=path,
            corpus=self.name,
            speaker=f"{self.speakers or self.name}/{speaker}",
            sex=parts.sex,
            emotion=self.emotions[parts.emotion_code],
            intensity=parts.intensity,
            statement=parts.statement,
            repetition=parts.repetition,
            modality=parts.modality,
            channel=parts.channel,
        )
