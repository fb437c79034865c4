"""A recording by segment: how it is cut, the list of its segments to play, and files of them."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from ser_core.diarization import segment_speakers, summarise_speakers
from ser_core.labels import find_emotion
from ser_core.prediction import Analysis
from ser_core.predictor import Predictor
from ser_core.segment_formats import FORMATS, SegmentFileError, encode_segments, read_segments
from ser_core.segments import Segment, SegmentConfig
from ser_core.web import drawing, words
from ser_core.web.components import Localized, uploads_only
from ser_core.web.language import label, translate

UTTERANCES, WINDOWS, OWN = "utterances", "windows", "own"
"""Kinds of segments."""
CUTS = (UTTERANCES, WINDOWS)
SPEAKERS = ("auto", "none", "channels", "find", "2", "3", "4")
"""Choices of `segment_speakers` on the page."""
OWN_FORMATS = ("srt", "vtt", "textgrid", "rttm", "eaf", "audacity", "csv")
"""Formats of a visitor's segments: Parquet unpacks to any size, and JSON has results, too."""
MAX_OWN_BYTES, MAX_OWN = 2_000_000, 5_000
MAX_OWN_SHARE = 2.0
"""Longest sound of a visitor's segments, overlaps counted twice, by the longest recording's."""
KINDS = {
    "vtt": "text/vtt",
    "eaf": "application/xml",
    "csv": "text/csv",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
"""Media types of the formats that are not plain text."""
TITLES = {
    "srt": "SRT",
    "vtt": "WebVTT",
    "textgrid": "TextGrid (Praat)",
    "rttm": "RTTM",
    "eaf": "EAF (ELAN)",
    "audacity": "Audacity",
    "csv": "CSV",
    "json": "JSON",
    "parquet": "Parquet",
}
"""Names of the formats, the same in every language."""
CHOOSE = (
    "const link = this.closest('p').querySelector('a'); link.href = this.value;"
    "link.download = link.textContent = this.selectedOptions[0].dataset.name"
)
"""JavaScript that makes the link beside the choice of a format that of the chosen one."""


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Choices for cutting a recording.

    Attributes:
        cut: One of `CUTS`, which only counts without `own`.
        speakers: One of `SPEAKERS`.
        own: File of the visitor's segments; None for none.
    """

    cut: str = UTTERANCES
    speakers: str = "auto"
    own: str | None = None

    @property
    def kind(self) -> str:
        """Kind of the segments: `utterances`, `windows` or `own`."""
        return OWN if self.own else self.cut


@dataclass(slots=True)
class Found:
    """Segments, perhaps while they are found.

    Attributes:
        segments: Those so far.
        kind: As `SegmentOptions.kind`.
        step: `speakers` or `emotions`.
        share: Share of the step that is done.
        is_whole: Whether these are all segments of the recording.
    """

    segments: list[Segment] = field(default_factory=list)
    kind: str = UTTERANCES
    step: str = ""
    share: float = 0.0
    is_whole: bool = False


class _StoppedError(Exception):
    """The analysis ends with what is done."""


def build_segment_options() -> tuple[list[gr.Radio | gr.File], list[Localized]]:
    """Place the choices of `SegmentOptions`, and return them with the texts to localize."""
    cut = gr.Radio(_choices("cut", CUTS), value=CUTS[0], label=label("cut"), elem_id="cut")
    speakers = gr.Radio(
        _choices("speakers", SPEAKERS),
        value=SPEAKERS[0],
        label=label("speakers"),
        info=label("speakers_hint"),
        elem_id="speakers",
    )
    own = uploads_only(gr.File(label=label("own_segments"), elem_id="own-segments", height=156))
    return [cut, speakers, own], [
        (cut, lambda: gr.Radio(choices=_choices("cut", CUTS))),
        (speakers, lambda: gr.Radio(choices=_choices("speakers", SPEAKERS))),
    ]


def _choices(kind: str, names: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (translate(f"{kind}_n", n=name) if name.isdecimal() else translate(f"{kind}_{name}"), name)
        for name in names
    ]


def read_own(own: str, recording: Path, *, longest_s: float) -> list[Segment]:
    """Read a visitor's segments of a recording.

    Args:
        own: The uploaded file.
        recording: The uploaded recording.
        longest_s: Length of the longest recording accepted.

    Raises:
        SegmentFileError: The file is gone, is of another format, cannot be read or breaks a limit.
    """
    path = Path(own)
    suffixes = [FORMATS[name].suffix for name in OWN_FORMATS]
    if path.suffix.lower() not in map(str.lower, suffixes):
        raise SegmentFileError(translate("own_format", suffixes=", ".join(suffixes)))
    if not path.exists():
        raise SegmentFileError(translate("own_gone"))
    if path.stat().st_size > MAX_OWN_BYTES:
        raise SegmentFileError(translate("own_large", size=f"{MAX_OWN_BYTES / 1e6:.0f}"))
    try:
        segments = read_segments(path, recording=recording)
    except SegmentFileError as error:
        raise SegmentFileError(str(error).replace(str(path), path.name)) from None
    if len(segments) > MAX_OWN:
        raise SegmentFileError(translate("own_many", n=words.number(MAX_OWN)))
    if sum(one.end_s - one.start_s for one in segments) > MAX_OWN_SHARE * longest_s:
        most = words.seconds(MAX_OWN_SHARE * longest_s)
        raise SegmentFileError(translate("own_long", duration=most))
    return segments


def find_segments(
    recording: Path,
    predictor: Predictor,
    options: SegmentOptions,
    *,
    stopped: Event,
    every_s: float,
    denoise: bool = False,
) -> Iterator[Found]:
    """Analyse the segments of a recording.

    Args:
        recording: The uploaded recording.
        predictor: The model.
        options: How it is cut, not into windows.
        stopped: Set to end with what is done.
        every_s: Time between two states.
        denoise: As in `Predictor.analyse`.

    Yields:
        What is found, while it grows.

    Raises:
        SerError: As `segment_speakers` and `read_own`.
    """
    longest_s = predictor.config.audio.max_duration_s
    given = read_own(options.own, recording, longest_s=longest_s) if options.own else None
    found, left = Found(kind=options.kind), Event()

    def progress(step: str) -> Any:
        def update(share: float) -> None:
            if stopped.is_set() or left.is_set():
                raise _StoppedError
            found.step, found.share = step, share

        return update

    def analyse() -> None:
        config = SegmentConfig(max_duration_s=longest_s)
        with suppress(_StoppedError):
            for one in segment_speakers(
                recording, predictor, options.speakers, config=config, given=given,
                denoise=denoise, progress=progress,
            ):  # fmt: skip
                found.segments.append(one)

    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(analyse)
        try:
            while wait([task], every_s).not_done:
                yield replace(found, segments=[*found.segments])
        finally:
            left.set()
        task.result()
    yield replace(found, is_whole=not stopped.is_set())


def from_windows(analysis: Analysis) -> Found:
    """Return the windows of an analysis as segments."""
    segments, whole = [], replace(analysis.prediction, warnings=())
    for window in analysis.windows:
        length_s = window.end_s - window.start_s
        prediction = whole.of_part(
            window.probabilities, length_s=length_s, intensity=window.intensity
        )
        segments.append(Segment(window.start_s, window.end_s, prediction=prediction))
    return Found(segments, WINDOWS, is_whole=True)


def draw_segments(found: Found, *, note: str = "") -> str:
    """Return a summary of each speaker, and a row for each segment, which a button plays.

    Args:
        found: The segments, in the order of their starts.
        note: HTML below the heading.
    """
    heading, segments = translate(f"segments_{found.kind}"), found.segments
    columns = [("batch_result", _result)]
    if any(one.speaker for one in segments):
        columns.append(("batch_speaker", lambda one: _cell(words.speaker(one.speaker))))
    if any(one.text for one in segments):
        columns.append(("segments_text", lambda one: _cell(one.text)))
    if any(one.warnings for one in segments):
        columns.append(("segments_notes", _notes))
    heads = [translate(key) for key in ("segments_time", *(key for key, _ in columns))]
    rows = [
        (words.stretch(one.start_s, one.end_s), "".join(draw(one) for _, draw in columns))
        for one in segments
    ]
    # The list is one stop of the Tab key; the arrow keys move in it (player.js).
    table = drawing.table("mm-segments", heading, heads, rows).replace(' tabindex="-1"', "", 1)
    return f"<section><h3>{heading}</h3>{note}{_summaries(segments)}{table}</section>"


def _cell(text: str | None) -> str:
    return f"<td>{escape(text or '')}</td>"


def _result(one: Segment) -> str:
    shown = escape(words.segment(one))
    button = (
        f"<button{drawing.plays(one.start_s, one.end_s, kind='mm-play')} "
        f'tabindex="-1" aria-label="{translate("play", what=shown)}"></button>'
    )
    if (p := one.prediction) is None:
        return f'<td><div class="mm-row">{button}<span>–</span></div></td>'
    text = (
        f"{find_emotion(p.emotion).sign} {words.emotion(p.emotion)} {words.percent(p.confidence)}"
    )
    unsure = "" if p.certain else f" <small>{translate('batch_uncertain')}</small>"
    told = f"<span>{escape(text)}{unsure}</span>"
    return f'<td><div class="mm-row">{button}{told}</div></td>'


def _notes(one: Segment) -> str:
    """Return the faults of a segment in a word each, or why it has no result."""
    if one.prediction is None:
        return _cell(" ".join(words.error(warning.message) for warning in one.warnings))
    return _cell(", ".join(translate(f"fault_{warning.code}") for warning in one.warnings))


def _summaries(segments: Sequence[Segment]) -> str:
    """Return a line for each speaker; nothing for one alone."""
    rows = [row for row in summarise_speakers(segments) if row["speaker"] and row["emotion"]]
    if len(rows) < 2:
        return ""
    texts = [
        translate(
            "speaker_summary",
            speaker=words.speaker(row["speaker"]),
            emotion=words.emotion(row["emotion"]),
            percent=words.percent(row["probabilities"][row["emotion"]]),
            n=row["n_segments"],
            duration=words.seconds(row["speech_s"]),
        )
        for row in rows
    ]
    return f'<ul class="mm-list mm-speakers">{drawing.items(texts)}</ul>'


def draw_files(result: dict[str, Any], segments: Sequence[Segment], recording: Path | None) -> str:
    """Return segments as files of a format to be chosen, which the page itself holds.

    Args:
        result: Plain JSON types about the whole recording, for the JSON.
        segments: The segments.
        recording: The recording, whose name RTTM and ELAN contain.
    """
    options, first = "", ""
    for name, form in FORMATS.items():
        content = encode_segments(segments, name, recording=recording)
        if name == "json":
            content = json.dumps(result | json.loads(content)).encode()
        uri = drawing.data_uri(content, KINDS.get(name, "text/plain"))
        file = f"moodmirror{form.suffix}"
        first = first or f'<a download="{file}" href="{uri}">{file}</a>'
        options += f'<option value="{uri}" data-name="{file}">{TITLES[name]}</option>'
    choice = (
        f'<select aria-label="{translate("file_format")}" onchange="{CHOOSE}">{options}</select>'
    )
    return (
        f'<p class="mm-small mm-files">{translate("download")} {choice} {first} '
        f'<button class="mm-save-card">{translate("save_card")}</button></p>'
    )
