"""The command that analyses the segments of a recording of any length."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ser_core.cli.common import (
    BAD_INPUT,
    FORMATS,
    MODEL,
    DenoiseOption,
    FileArgument,
    ModelOption,
    RelativeOption,
    SpeakersOption,
    TrustOption,
    command,
    complain,
    one_of,
    open_model,
)
from ser_core.cli.output import print_segments, print_speakers
from ser_core.errors import NoSpeechError, SerError
from ser_core.paths import check_output

if TYPE_CHECKING:
    from ser_core.segments import Segment


@command()
def segment(
    file: FileArgument,
    to: Annotated[
        str | None,
        typer.Option(help=f"Format: {', '.join(FORMATS)}.", autocompletion=one_of(*FORMATS)),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; otherwise the output is printed, to a terminal as a table."
        ),
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(help="Segments to analyse: .srt, .TextGrid, .rttm, .csv, …")
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows", help="Cut into windows of 6 s instead of utterances.")
    ] = False,
    speakers: SpeakersOption = "none",
    relative: RelativeOption = False,
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    denoise: DenoiseOption = False,
) -> None:
    """Recognise the emotion in each utterance of a recording, of any length.

    With --out, a summary of each speaker is printed. Ctrl-C ends the analysis and keeps what is
    done.
    """
    from ser_core.diarization import (
        adapt_speakers,
        number_of_speakers,
        segment_speakers,
        summarise_speakers,
    )
    from ser_core.segment_formats import (
        encode_segments,
        format_of,
        has_emotions,
        read_segments,
        write_segments,
    )
    from ser_core.segments import SegmentConfig

    if to is not None and to not in FORMATS:
        raise SerError(f"{to} is no format; expected one of {', '.join(FORMATS)}.")
    number_of_speakers(speakers)
    name = to or (format_of(out) if out else "json")
    if out:
        check_output(out, has_emotions)
    given = read_segments(segments, recording=file) if segments else None
    config = SegmentConfig(mode="windows" if windows else "utterances")
    predictor = open_model(model, trust=trust)
    found: list[Segment] = []
    with _progress_bars() as add_bar:
        parts = segment_speakers(
            file, predictor, speakers, config=config, given=given, denoise=denoise,
            progress=add_bar,
        )  # fmt: skip
        try:
            found.extend(parts)
        except KeyboardInterrupt:
            if not found:
                raise
            complain("Interrupted; the rest of the recording is missing from the result.")
    if not found:
        raise NoSpeechError(f"{file} has no speech.")
    if relative:
        found = adapt_speakers(found)
    if out:
        write_segments(found, out, name=name, recording=file)
        print_speakers(summarise_speakers(found))
    elif to is None and sys.stdout.isatty():
        print_segments(found)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(encode_segments(found, name, recording=file))
    _report_failed(file, found)


def _report_failed(file: Path, found: "Sequence[Segment]") -> None:
    """Say how many segments could not be analysed, and exit with 2 where some could not."""
    failed = [part for part in found if part.prediction is None]
    if not failed:
        return
    first = failed[0]
    reasons = " ".join(warning.message for warning in first.warnings)
    complain(
        f"{file}: {len(failed)} of {len(found)} segments have no result, the first from "
        f"{first.start_s:g} to {first.end_s:g} s: {reasons}"
    )
    raise typer.Exit(BAD_INPUT)


@contextmanager
def _progress_bars() -> Iterator[Callable[[str], Callable[[float], None]]]:
    """Yield a function that adds a progress bar on stderr, and returns one to update its share."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    ) as bars:  # fmt: skip

        def add(title: str) -> Callable[[float], None]:
            task = bars.add_task(title, total=1.0)
            return lambda share: bars.update(task, completed=share)

        yield add
