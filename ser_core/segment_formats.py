"""Files of segments: subtitles, TextGrid, ELAN, RTTM, Audacity labels and tables.

`read_segments` reads times and, where the file has them, speakers, channels and text;
`write_segments` writes these and the emotions. Subtitles and labels of one line read
`[speaker]: text [angry 85%]`. In TextGrid and ELAN each speaker has a tier of text, and beside it
tiers `speaker/emotion`, `speaker/confidence` and, where it is known, `speaker/intensity`, which are
not read. All of a `Segment` is only in JSON.
"""

import csv
import html
import io
import json
import math
import mimetypes
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.parsers import expat

from ser_core.errors import SerError
from ser_core.names import escape_formula
from ser_core.paths import replacing
from ser_core.segments import PLAIN, Segment

UNNAMED = "speech"
"""Label of a segment without text, and tier of segments without speaker."""
EMOTION, CONFIDENCE, INTENSITY = "/emotion", "/confidence", "/intensity"
"""Ends of the names of the tiers beside a speaker's."""
RECORDING = "recording"
"""Name in RTTM of a recording whose name is not known."""
NOTHING = "<NA>"
"""A field of RTTM without a value."""

_CAPTION = re.compile(
    r"(?:\[(?P<speaker>[^\[\]]+)\]: ?)?(?P<text>.*?) ?(?:\[[^\[\]]+ \d{1,3}%\])?", re.DOTALL
)
_FORMATTING = re.compile(r"</?(?:b|i|u|s|font)(?:\s[^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)
"""Formatting in SRT, which has no escapes."""
_ARROW = re.compile(r"\d\s*-+>")
_SRT_TIME, _VTT_TIME = r"\d+:\d{1,2}:\d{2}[.,]\d{3}", r"(?:\d+:)?\d{1,2}:\d{2}\.\d{3}"
_LANE = re.compile(r" #\d+$")
"""End of the name of a tier for segments that overlap others of the same speaker."""
_PRAAT = re.compile(r'"((?:[^"]|"")*)"|(<\w+>)|(?<!\S)(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)|!.*')
"""What counts in Praat's text files: strings, flags and free-standing numbers; also comments."""
_TIMES = {"start": "start_s", "end": "end_s"}
"""Other names of columns and keys, as Whisper has them."""
_NAMES = ("file", "path")
"""Columns that name the recording of a row."""


_RESULT = re.compile(
    rb'/emotion"|\bemotion,|"emotion": |\APAR1.*emotion|\[[^\[\]\r\n]+ \d{1,3}%\]'
    rb"|<NA> \S+ \S+ \d\.\d{3} <NA>",
    re.DOTALL,
)
"""What this program writes to a file of any of the formats, and others do not."""


class SegmentFileError(SerError):
    """A file of segments cannot be read or is of no known format."""


class _FaultError(Exception):
    """A fault in a file, with its line where there is one."""

    def __init__(self, line: int | None, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Entry:
    """A segment as it is in a file, with the name of its recording where that is given."""

    segment: Segment
    recording: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files of segments.

    Attributes:
        suffix: End of the file names, with the dot.
        title: Its name in a sentence.
        read: Function of the bytes of a file, which yields its entries.
        write: Function of segments and the recording's name, which returns the bytes of a file.
    """

    suffix: str
    title: str
    read: Callable[[bytes], Iterator[_Entry]]
    write: Callable[[Sequence[Segment], str], bytes]


def format_of(path: Path) -> str:
    """Return the name of a file's format, a key of `FORMATS`, by the end of its name.

    Raises:
        SegmentFileError: It is of none.
    """
    for name, form in FORMATS.items():
        if form.suffix.lower() == path.suffix.lower():
            return name
    suffixes = ", ".join(form.suffix for form in FORMATS.values())
    raise SegmentFileError(f"{path} is no file of segments; expected a name in {suffixes}.")


def read_segments(path: Path, *, recording: Path | None = None) -> list[Segment]:
    """Read the segments of a recording.

    Args:
        path: A file whose name ends as one of `FORMATS`. A TextGrid's or ELAN's tiers are
            speakers. A table has the columns `start_s` and `end_s`, and perhaps `speaker`,
            `channel` and `text`.
        recording: The recording, by whose name its segments are found in an RTTM, or in a table
            with the column `file` or `path`, of several recordings.

    Returns:
        At least one segment, by their start. The channels of an RTTM are read only where it has
        several.

    Raises:
        SegmentFileError: The file cannot be read, has no segment, or none of the recording; the
            message names the line.
    """
    form = FORMATS[format_of(path)]
    try:
        entries = list(form.read(path.read_bytes()))
    except _FaultError as fault:
        where = f"{path}, line {fault.line}" if fault.line else str(path)
        raise SegmentFileError(f"{where}: {fault}.") from fault
    except OverflowError as error:
        raise SegmentFileError(f"{path} has a number that is too large for a time.") from error
    except OSError as error:
        raise SegmentFileError(f"{path} cannot be read: {error.strerror}.") from error
    segments = [entry.segment for entry in _of_recording(entries, path, recording)]
    if not segments:
        raise SegmentFileError(f"{path} has no segments; expected at least one of {form.title}.")
    return sorted(segments, key=lambda segment: (segment.start_s, segment.end_s))


def _of_recording(entries: list[_Entry], path: Path, recording: Path | None) -> list[_Entry]:
    """Return the entries of a recording; all, where they are of one, whatever its name."""
    names = {entry.recording for entry in entries if entry.recording}
    if len(names) < 2:
        return entries
    wanted = _rttm_name(recording.stem) if recording else None
    chosen = [e for e in entries if e.recording and _rttm_name(Path(e.recording).stem) == wanted]
    # The stem of a name in RTTM, which has no suffix, may end at a dot.
    chosen = chosen or [entry for entry in entries if entry.recording == wanted]
    if not chosen:
        listed = ", ".join(sorted(names)[:3])
        raise SegmentFileError(
            f"{path} has segments of {len(names)} recordings ({listed}, …), none of them named as "
            f"{recording.name if recording else 'no recording'}."
        )
    return chosen


def encode_segments(
    segments: Iterable[Segment], name: str, *, recording: Path | None = None
) -> bytes:
    """Return the content of a file of segments.

    Args:
        segments: In any order; they are written by their start.
        name: Format, a key of `FORMATS`.
        recording: The recording, whose name RTTM and ELAN contain.
    """
    ordered = sorted(segments, key=lambda segment: (segment.start_s, segment.end_s))
    return FORMATS[name].write(ordered, recording.name if recording else "")


def write_segments(
    segments: Iterable[Segment],
    path: Path,
    *,
    name: str | None = None,
    recording: Path | None = None,
) -> None:
    """Write segments to a file, which replaces only one that has emotions.

    Args:
        segments: As in `encode_segments`.
        path: File to write; check it with `check_output(path, has_emotions)` before long work.
        name: Format, a key of `FORMATS`; by the end of the path by default.
        recording: As in `encode_segments`.

    Raises:
        OutputError: The file cannot be written, or would replace another.
    """
    content = encode_segments(segments, name or format_of(path), recording=recording)
    with replacing(path, has_emotions) as draft:
        draft.write_bytes(content)


def has_emotions(path: Path) -> bool:
    """Return whether a file may be replaced: `write_segments` has written emotions to it."""
    return _RESULT.search(path.read_bytes()) is not None


def _segment(start_s: float, end_s: float, *, line: int | None = None, **rest: Any) -> Segment:
    """Return a segment; raise a fault of a line where it has no sound or no end."""
    if not math.isfinite(end_s):
        raise _FaultError(line, f"a segment that ends at {end_s} s; expected a number of seconds")
    try:
        return Segment(start_s, end_s, **rest)
    except ValueError as error:
        raise _FaultError(line, f"{error}; expected an end after the start") from error


def _decode(content: bytes) -> str:
    """Return text without its byte order mark, with line feeds."""
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _FaultError(line, "no UTF-8; expected a text file saved as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line(text: str | None) -> str:
    """Return text as one line, without what is no character in XML."""
    joined = " ".join((text or "").split())
    return "".join(c for c in joined if unicodedata.category(c) not in {"Cc", "Cs", "Cn"})


def _span_ms(segment: Segment) -> tuple[int, int]:
    """Return start and end in milliseconds, at least one apart."""
    start = round(1_000 * segment.start_s)
    return start, max(round(1_000 * segment.end_s), start + 1)


def _caption(segment: Segment, *, between: str = " ") -> str:
    """Return what is known of a segment as a person reads it.

    Args:
        segment: The segment.
        between: What is before the emotion.
    """
    name = _line(segment.speaker).translate({ord("["): "(", ord("]"): ")"})
    head = f"[{name}]: " if name else ""
    said = f"{head}{_line(segment.text)}".rstrip()
    emotion = _emotion_of(segment)
    return between.join(filter(None, (said, emotion and f"[{emotion}]"))) or f"[{UNNAMED}]"


def _emotion_of(segment: Segment) -> str:
    prediction = segment.prediction
    return f"{prediction.emotion} {prediction.confidence:.0%}" if prediction else ""


def _read_caption(caption: str) -> dict[str, Any]:
    """Return speaker and text of a caption, without the emotion of an earlier run."""
    match = _CAPTION.fullmatch(_line(caption))
    assert match  # every part is optional
    text = match["text"] if match["text"] != f"[{UNNAMED}]" else ""
    return {"speaker": match["speaker"], "text": text or None}


def _cue_lines(text: str, time: str) -> list[int]:
    """Return the lines of the times of subtitles, all of which have to match a pattern."""
    found = [(i, line) for i, line in enumerate(text.split("\n"), 1) if _ARROW.search(line)]
    for i, line in found:
        if not re.match(rf"\s*{time}\s*-->\s*{time}(?!\d)", line):
            raise _FaultError(
                i, f"{_line(line)[:80]!r} is no time; expected 00:00:01.500 --> 00:00:02.750"
            )
    return [i for i, _ in found]


def _numbered(lines: Sequence[int], cues: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Return subtitles with the lines of their times."""
    if len(lines) != len(cues):
        raise _FaultError(
            None, f"{len(lines)} lines of times for {len(cues)} subtitles; expected as many"
        )
    return zip(lines, cues, strict=True)


def _read_srt(content: bytes) -> Iterator[_Entry]:
    import srt

    text = _decode(content)
    lines = _cue_lines(text, _SRT_TIME)
    try:
        cues = list(srt.parse(text))
    except srt.SRTParseError as error:
        line = text.count("\n", 0, error.expected_start) + 1
        raise _FaultError(line, "no subtitle; expected a number, times and text") from error
    for line, cue in _numbered(lines, cues):
        said = _read_caption(_FORMATTING.sub("", cue.content))
        yield _Entry(
            _segment(cue.start.total_seconds(), cue.end.total_seconds(), line=line, **said)
        )


def _write_srt(segments: Sequence[Segment], _: str) -> bytes:
    import srt

    cues = []
    for i, segment in enumerate(segments, 1):
        start, end = (timedelta(milliseconds=ms) for ms in _span_ms(segment))
        cues.append(srt.Subtitle(i, start, end, _caption(segment, between="\n")))
    return str(srt.compose(cues, reindex=False)).encode()


def _read_vtt(content: bytes) -> Iterator[_Entry]:
    import webvtt
    from webvtt.errors import MalformedCaptionError, MalformedFileError

    text = _decode(content)
    lines = _cue_lines(text, _VTT_TIME)
    try:
        cues = webvtt.from_string(text).captions
    except MalformedFileError as error:
        raise _FaultError(1, "no WebVTT; expected WEBVTT at the start") from error
    except MalformedCaptionError as error:
        raise _FaultError(None, f"no WebVTT, {_line(str(error))[:120]}") from error
    for line, cue in _numbered(lines, cues):
        said = _read_caption(html.unescape(cue.text))
        if cue.voice:
            said["speaker"] = html.unescape(cue.voice)
        start_s, end_s = (t.in_milliseconds() / 1_000 for t in (cue.start_time, cue.end_time))
        yield _Entry(_segment(start_s, end_s, line=line, **said))


def _write_vtt(segments: Sequence[Segment], _: str) -> bytes:
    import webvtt
    from webvtt.models import Timestamp

    vtt = webvtt.WebVTT()
    for segment in segments:
        start, end = (str(Timestamp.from_seconds(ms / 1_000)) for ms in _span_ms(segment))
        said = [html.escape(_line(segment.text), quote=False)]
        if name := _line(segment.speaker):
            said[0] = f"<v {html.escape(name, quote=False)}>{said[0]}</v>"
        if emotion := _emotion_of(segment):
            said.append(f"[{html.escape(emotion, quote=False)}]")
        lines = [line for line in said if line] or [f"[{UNNAMED}]"]
        vtt.captions.append(webvtt.Caption(start, end, lines))
    return f"{vtt.content}\n".encode()


def _read_audacity(content: bytes) -> Iterator[_Entry]:
    for line, row in enumerate(_decode(content).split("\n"), 1):
        if not row.strip() or row.startswith("\\"):  # the frequencies of the label before
            continue
        cells = row.split("\t", 2)
        try:
            start_s, end_s = (float(cell) for cell in cells[:2])
        except ValueError as error:
            raise _FaultError(
                line, "no label; expected start, end and text between tabs"
            ) from error
        if start_s == end_s:  # a mark at a point
            continue
        yield _Entry(_segment(start_s, end_s, line=line, **_read_caption("".join(cells[2:]))))


def _write_audacity(segments: Sequence[Segment], _: str) -> bytes:
    rows = []
    for segment in segments:
        start, end = _span_ms(segment)
        rows.append(f"{start / 1_000:.6f}\t{end / 1_000:.6f}\t{_caption(segment)}\n")
    return "".join(rows).encode()


def _rttm_name(name: str | None) -> str:
    """Return a name without spaces, as the fields of RTTM need it."""
    return _line(name).replace(" ", "_")


def _read_rttm(content: bytes) -> Iterator[_Entry]:
    found = []
    for line, row in enumerate(_decode(content).split("\n"), 1):
        fields = row.split()
        if not fields or fields[0].startswith(";"):
            continue
        if fields[0] != "SPEAKER":
            if fields[0].isupper() or len(fields) > 8:  # other types of NIST's format
                continue
            raise _FaultError(line, "no RTTM; expected SPEAKER at the start of the line")
        try:
            name, channel, start, length = fields[1:5]
            start_s, length_s = float(start), float(length)
            speaker = fields[7]
        except (ValueError, IndexError) as error:
            raise _FaultError(
                line, "no RTTM; expected SPEAKER, recording, channel, start and length in s, two "
                "fields, and the speaker"
            ) from error  # fmt: skip
        found.append((line, name, channel, start_s, round(start_s + length_s, 6), speaker))
    channels = {channel for _, _, channel, *_ in found}
    has_channels = len(channels) > 1 and all(c.isdecimal() and int(c) > 0 for c in channels)
    for line, name, channel, start_s, end_s, speaker in found:
        segment = _segment(
            start_s, end_s, line=line, speaker=None if speaker == NOTHING else speaker,
            channel=int(channel) - 1 if has_channels else None,
        )  # fmt: skip
        yield _Entry(segment, name)


def _write_rttm(segments: Sequence[Segment], recording: str) -> bytes:
    rows = []
    name = _rttm_name(Path(recording).stem) or RECORDING
    for segment in segments:
        start, end = _span_ms(segment)
        times = f"{start / 1_000:.3f} {(end - start) / 1_000:.3f}"
        emotion, confidence = NOTHING, NOTHING
        if segment.prediction:
            emotion = _rttm_name(segment.prediction.emotion)
            confidence = f"{segment.prediction.confidence:.3f}"
        speaker = _rttm_name(segment.speaker) or NOTHING
        rows.append(
            f"SPEAKER {name} {(segment.channel or 0) + 1} {times} {NOTHING} {emotion} {speaker} "
            f"{confidence} {NOTHING}\n"
        )
    return "".join(rows).encode()


Interval = tuple[int, int, str]
"""Start and end in ms, and label."""


def _tiers_of(segments: Sequence[Segment]) -> dict[str, tuple[str, list[Interval]]]:
    """Return speaker and intervals by tier; those of a tier do not overlap.

    Args:
        segments: By their start.
    """
    tiers: dict[str, tuple[str, list[Interval]]] = {}
    ends: dict[str, int] = defaultdict(int)
    for segment in segments:
        start, end = _span_ms(segment)
        speaker = _line(segment.speaker)
        lane = 1
        tier = speaker or UNNAMED
        while ends[tier] > start:
            lane += 1
            tier = f"{speaker or UNNAMED} #{lane}"
        ends[tier] = end
        labels = {tier: _line(segment.text) or tier}
        if segment.prediction:
            labels[tier + EMOTION] = segment.prediction.emotion
            labels[tier + CONFIDENCE] = f"{segment.prediction.confidence:.3f}"
            if segment.prediction.intensity is not None:
                labels[tier + INTENSITY] = f"{segment.prediction.intensity:.3f}"
        for name, label in labels.items():
            tiers.setdefault(name, (speaker, []))[1].append((start, end, label))
    return tiers


def _from_tier(tier: str, label: str, *, speaker: str | None = None) -> dict[str, Any]:
    """Return speaker and text of an interval."""
    name = _LANE.sub("", tier)
    text = _line(label)
    return {
        "speaker": speaker or (None if name == UNNAMED else name),
        "text": None if text in (tier, "") else text,
    }


def _is_result(tier: str, tiers: Iterable[str]) -> bool:
    """Return whether a tier has what an earlier run found about another one."""
    ends = (EMOTION, CONFIDENCE, INTENSITY)
    return any(tier.endswith(end) and tier.removesuffix(end) in tiers for end in ends)


class _PraatText:
    """The strings, flags and numbers of a text file of Praat, in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _PRAAT.finditer(text)
        self._position = 0
        self.line = 1

    def _next(self, group: int, expected: str) -> str:
        for token in self._tokens:
            self.line += self._text.count("\n", self._position, token.start())
            self._position = token.start()
            if token.lastindex == group:
                return str(token[group])
            if token.lastindex:
                break
        else:
            self.line += self._text.count("\n", self._position)
            raise _FaultError(self.line, f"the file ends where {expected} is expected")
        raise _FaultError(self.line, f"{token[0][:80]!r} where {expected} is expected")

    def string(self, expected: str) -> str:
        return self._next(1, expected).replace('""', '"')

    def flag(self) -> str:
        return self._next(2, "<exists>")

    def number(self, expected: str) -> float:
        return float(self._next(3, expected))


def _read_textgrid(content: bytes) -> Iterator[_Entry]:
    """Read Praat's long and short text format.

    Source: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html. Libraries for it
    read a truncated file as a shorter one.
    """
    praat = _PraatText(_decode(content))
    if (
        not praat.string('"ooTextFile"').startswith("ooTextFile")
        or praat.string('"TextGrid"') != "TextGrid"
    ):
        raise _FaultError(praat.line, 'no TextGrid; expected "ooTextFile" and "TextGrid"')
    praat.number("the start"), praat.number("the end")
    n_tiers = int(praat.number("the number of tiers")) if praat.flag() == "<exists>" else 0
    tiers: dict[str, list[tuple[Segment, str]]] = {}
    for _ in range(n_tiers):
        kind, name = praat.string("the kind of a tier"), _line(praat.string("the name of a tier"))
        praat.number("the start of the tier"), praat.number("the end of the tier")
        found = tiers.setdefault(name, [])
        for _ in range(int(praat.number("the number of intervals"))):
            start_s = praat.number("the start of an interval")
            if kind != "IntervalTier":
                praat.string("the mark of a point")
                continue
            end_s, label = praat.number("the end of an interval"), praat.string("its label")
            if _line(label):
                found.append((_segment(start_s, end_s, line=praat.line), label))
    for name, intervals in tiers.items():
        if not _is_result(name, tiers):
            for interval, label in intervals:
                known = _from_tier(name, label)
                yield _Entry(Segment(interval.start_s, interval.end_s, **known))


def _write_textgrid(segments: Sequence[Segment], _: str) -> bytes:
    end = max((_span_ms(segment)[1] for segment in segments), default=0)
    times = f"xmin = 0\nxmax = {end / 1_000:.3f}\n"
    tiers = _tiers_of(segments)
    parts = [
        f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n{times}'
        f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    ]
    for i, (name, (_, labelled)) in enumerate(tiers.items(), 1):
        intervals = list(_without_gaps(labelled, end))
        parts.append(
            f'    item [{i}]:\n        class = "IntervalTier"\n        name = {_quoted(name)}\n'
            f"        xmin = 0\n        xmax = {end / 1_000:.3f}\n"
            f"        intervals: size = {len(intervals)}\n"
        )
        parts += [
            f"        intervals [{j}]:\n            xmin = {start / 1_000:.3f}\n"
            f"            xmax = {stop / 1_000:.3f}\n            text = {_quoted(label)}\n"
            for j, (start, stop, label) in enumerate(intervals, 1)
        ]
    return "".join(parts).encode()


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _without_gaps(intervals: Iterable[Interval], end: int) -> Iterator[Interval]:
    """Yield intervals with empty ones between them, as Praat needs them."""
    last = 0
    for interval in intervals:
        if interval[0] > last:
            yield last, interval[0], ""
        yield interval
        last = interval[1]
    if last < end:
        yield last, end, ""


class _Eaf:
    """Reader of the annotations of an ELAN file that are on no other tier's.

    Source: https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf.
    """

    def __init__(self) -> None:
        self.tiers: dict[str, tuple[str | None, list[tuple[Segment, str]]]] = {}
        self._times_ms: dict[str, int | None] = {}
        self._is_eaf = False
        self._tier: str | None = None
        self._times: tuple[str, str] | None = None
        self._value: list[str] | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def parse(self, content: bytes) -> None:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            fault = expat.ErrorString(error.code)
            raise _FaultError(error.lineno, f"no XML, {fault}; export the file again") from error
        except (KeyError, ValueError) as error:
            raise self._fault(f"{error} is missing or no number") from error
        if not self._is_eaf:
            raise _FaultError(1, "no file of ELAN; expected an ANNOTATION_DOCUMENT")

    def _fault(self, text: str) -> _FaultError:
        return _FaultError(self._parser.CurrentLineNumber, f"{text}; expected what ELAN writes")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "ANNOTATION_DOCUMENT":
            self._is_eaf = True
        elif name == "TIME_SLOT":
            value = attributes.get("TIME_VALUE")
            self._times_ms[attributes["TIME_SLOT_ID"]] = None if value is None else int(value)
        elif name == "TIER":
            self._tier = None if "PARENT_REF" in attributes else _line(attributes["TIER_ID"])
            if self._tier is not None:
                speaker = _line(attributes.get("PARTICIPANT")) or None
                self.tiers.setdefault(self._tier, (speaker, []))
        elif name == "ALIGNABLE_ANNOTATION" and self._tier is not None:
            self._times = (attributes["TIME_SLOT_REF1"], attributes["TIME_SLOT_REF2"])
        elif name == "ANNOTATION_VALUE" and self._times:
            self._value = []

    def _text(self, text: str) -> None:
        if self._value is not None:
            self._value.append(text)

    def _end(self, name: str) -> None:
        if name == "ANNOTATION_VALUE" and self._times and self._tier is not None:
            times_ms = [self._times_ms[slot] for slot in self._times]
            if None in times_ms:
                raise self._fault("an annotation without a time")
            start_s, end_s = (ms / 1_000 for ms in times_ms if ms is not None)
            segment = _segment(start_s, end_s, line=self._parser.CurrentLineNumber)
            self.tiers[self._tier][1].append((segment, "".join(self._value or ())))
            self._times = self._value = None


def _read_eaf(content: bytes) -> Iterator[_Entry]:
    eaf = _Eaf()
    eaf.parse(content)
    for name, (speaker, annotations) in eaf.tiers.items():
        if not _is_result(name, eaf.tiers):
            for segment, label in annotations:
                yield _Entry(replace(segment, **_from_tier(name, label, speaker=speaker)))


def _write_eaf(segments: Sequence[Segment], recording: str) -> bytes:
    from pympi.Elan import Eaf, to_string

    eaf = Eaf(author="MoodMirror")
    eaf.remove_tier("default")
    if recording:
        kind = mimetypes.guess_type(recording)[0] or "audio/*"
        eaf.add_linked_file(f"./{recording}", relpath=f"./{recording}", mimetype=kind)
    for name, (speaker, intervals) in _tiers_of(segments).items():
        eaf.add_tier(name, part=speaker or None)
        for start, end, label in intervals:
            eaf.add_annotation(name, start, end, label)
    return bytes(to_string(eaf, encoding="UTF-8"))


def _read_csv(content: bytes) -> Iterator[_Entry]:
    lines = io.StringIO(_decode(content))
    header = lines.readline()
    lines.seek(0)
    rows = csv.DictReader(lines, delimiter=max(",;\t", key=header.count))
    try:
        for row in rows:
            cells = {key: cell for key, cell in row.items() if key and isinstance(cell, str)}
            yield _from_row(cells, rows.line_num)
    except csv.Error as error:
        raise _FaultError(rows.line_num, f"no table, {error}") from error


def _from_row(row: dict[str, Any], line: int | None) -> _Entry:
    """Return the entry of a row of a table, or of an object in JSON."""
    known = {_TIMES.get(key.strip(), key.strip()): value for key, value in row.items()}
    missing = [name for name in _TIMES.values() if name not in known]
    if missing:
        raise _FaultError(
            line, f"no {' and no '.join(missing)}; expected columns start_s and end_s"
        )
    try:
        start_s, end_s = (float(str(known[name]).replace(",", ".")) for name in _TIMES.values())
        channel = None if known.get("channel") in (None, "") else int(known["channel"])
    except (TypeError, ValueError) as error:
        raise _FaultError(line, f"{error}; expected seconds and a channel from 0") from error
    speaker, text = (_line(_unquoted(known.get(name))) or None for name in ("speaker", "text"))
    named = next((str(known[name]) for name in _NAMES if known.get(name)), None)
    segment = _segment(start_s, end_s, line=line, speaker=speaker, channel=channel, text=text)
    return _Entry(segment, named)


def _unquoted(cell: Any) -> str:
    """Return a cell without the quote of `escape_formula`."""
    text = "" if cell is None else str(cell)
    return text[1:] if text.startswith("'") and escape_formula(text[1:]) == text else text


def _table_of(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    labels = next((s.prediction.labels for s in segments if s.prediction), ())
    return [segment.to_row(labels) for segment in segments]


def _write_csv(segments: Sequence[Segment], _: str) -> bytes:
    rows = _table_of(segments)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else list(PLAIN), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for name in ("speaker", "text"):
            row[name] = _line(row[name])
        writer.writerow({key: escape_formula(cell) for key, cell in row.items()})
    return text.getvalue().encode()


def _read_json(content: bytes) -> Iterator[_Entry]:
    try:
        stored = json.loads(_decode(content))
    except json.JSONDecodeError as error:
        raise _FaultError(error.lineno, f"no JSON, {error.msg}") from error
    items = stored.get("segments") if isinstance(stored, dict) else stored
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _FaultError(1, "no segments; expected a list of objects, or one named segments")
    for i, item in enumerate(items, 1):
        entry = _from_row(item, None)
        times = {name: getattr(entry.segment, name) for name in ("start_s", "end_s", "channel")}
        try:
            yield replace(entry, segment=Segment.from_dict(item | times))
        except (KeyError, TypeError, ValueError) as error:
            raise _FaultError(None, f"segment {i} has another form, {error!r}") from error


def _write_json(segments: Sequence[Segment], _: str) -> bytes:
    return json.dumps({"segments": [segment.to_dict() for segment in segments]}, indent=1).encode()


def _read_parquet(content: bytes) -> Iterator[_Entry]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as error:
        raise _FaultError(None, f"no Parquet, {_line(str(error))[:120]}") from error
    for i, row in enumerate(rows, 1):
        yield _from_row(row, i)


def _write_parquet(segments: Sequence[Segment], _: str) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    rows = _table_of(segments)
    kinds = dict.fromkeys(("speaker", "text", "emotion", "warnings"), pa.string())
    kinds |= {"channel": pa.int32(), "certain": pa.bool_()}
    names = list(rows[0]) if rows else list(PLAIN)
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in names])
    content = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), content)
    return content.getvalue()


FORMATS = {
    "srt": Format(".srt", "SRT subtitles", _read_srt, _write_srt),
    "vtt": Format(".vtt", "WebVTT subtitles", _read_vtt, _write_vtt),
    "textgrid": Format(".TextGrid", "a TextGrid", _read_textgrid, _write_textgrid),
    "rttm": Format(".rttm", "RTTM", _read_rttm, _write_rttm),
    "eaf": Format(".eaf", "ELAN", _read_eaf, _write_eaf),
    "audacity": Format(".txt", "Audacity labels", _read_audacity, _write_audacity),
    "csv": Format(".csv", "a table", _read_csv, _write_csv),
    "json": Format(".json", "JSON", _read_json, _write_json),
    "parquet": Format(".parquet", "a table", _read_parquet, _write_parquet),
}
"""Formats by the name that the command line has for them."""


def missing_package(error: ModuleNotFoundError, need: str) -> str:
    """Return the sentence for a package that a format needs and that is not installed.

    Args:
        error: From the import.
        need: What needs it, such as `files of segments need`.
    """
    return (
        f"{error.name} is not installed, and {need} it. Install it with: "
        "pip install pympi-ling srt webvtt-py"
    )
