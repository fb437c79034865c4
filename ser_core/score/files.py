"""Files of segments of an archive's recordings, from the rows per utterance in its parts."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath

from ser_core.labels import column_of
from ser_core.model.manifest import Manifest
from ser_core.prediction import Prediction
from ser_core.quality import QualityWarning
from ser_core.score.parts import CLIP, Row, read_parts
from ser_core.score.sources import MEMBER, ScoreError, root_of
from ser_core.segment_formats import FORMATS, encode_segments, missing_package, write_segments
from ser_core.segments import PLAIN, Segment


def check_format(name: str) -> None:
    """Check before any work that files of a format can be written.

    Raises:
        ScoreError: It is no key of `FORMATS`, or a package for it is missing.
    """
    if name not in FORMATS:
        raise ScoreError(f"{name} is no format; expected one of {', '.join(FORMATS)}.")
    try:
        encode_segments((), name)
    except ModuleNotFoundError as error:
        raise ScoreError(missing_package(error, f"{FORMATS[name].title} needs")) from error


def write_files(address: str, source: str, folder: Path, name: str, manifest: Manifest) -> int:
    """Write a file of segments for each recording in the parts that has some.

    A file is named as its recording is below the source, with the format's suffix behind:
    `folder/monday/talk.mp3.srt`; a shard is a folder.

    Args:
        address: Output folder of a job with rows per utterance.
        source: Input of the job.
        folder: Where to write; only files that have emotions are replaced.
        name: Format, a key of `FORMATS`.
        manifest: Of the model that gave the rows.

    Returns:
        The number of files.

    Raises:
        OutputError: A file cannot be written, or would replace another.
    """
    n_files, root = 0, root_of(source)
    for _, rows in read_parts(address):
        for clip, found in groupby(rows or (), key=itemgetter(CLIP)):
            segments = list(segments_of(found, manifest))
            if segments:
                below = PurePosixPath(clip.removeprefix(root).replace(MEMBER, "/"))
                steps = [step for step in below.parts if step not in ("/", "..")]
                path = folder.joinpath(*steps)
                path = path.with_name(path.name + FORMATS[name].suffix)
                write_segments(segments, path, name=name, recording=Path(path.stem))
                n_files += 1
    return n_files


def segments_of(rows: Iterable[Row], manifest: Manifest) -> Iterator[Segment]:
    """Yield the segments of a recording's rows; an error has none. Inverse of `rows_of_segments`.

    Only the codes of warnings are in rows, and stand for their messages, too.
    """
    certain_from = manifest.certainty.confidence if manifest.certainty else 0.0
    for row in rows:
        if row["error"] is not None:
            continue
        warnings = tuple(QualityWarning(code, code) for code in row["warnings"])
        prediction = None
        if row["emotion"] is not None:
            prediction = Prediction.from_probabilities(
                [row[column_of(label)] for label in manifest.labels],
                manifest.labels,
                duration_s=row["end_s"] - row["start_s"],
                speech_end_s=row["end_s"] - row["start_s"],
                warnings=warnings,
                model=row["model"],
                weights=manifest.weights_sha256,
                certain_from=certain_from,
                temperature=manifest.temperature,
                intensity=row.get("intensity"),  # earlier parts have none
            )
        known = {key: row[key] for key in PLAIN}
        yield Segment(**known, prediction=prediction, warnings=warnings)
