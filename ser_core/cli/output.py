"""Results and figures as the command line prints them."""

import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from ser_core.labels import column_of, find_emotion
from ser_core.names import escape_formula, name_of, printable

if TYPE_CHECKING:
    from ser_core.prediction import Prediction
    from ser_core.segments import Segment
    from ser_lab.evaluate.custom import Answers, Comparison, GroupScore, LabelMap
    from ser_lab.fetch import CorpusState
    from ser_lab.metrics import CalibrationBin, Scores


def print_json(answers: Iterable[tuple[Path, "Prediction"]]) -> None:
    """Print one JSON object per recording and line."""
    for file, prediction in answers:
        print(json.dumps({"file": name_of(file)} | prediction.to_dict()), flush=True)


def print_tasks(answers: Iterable[tuple[Path, "Prediction"]]) -> None:
    """Print the recordings as tasks of Label Studio, in one JSON list."""
    from ser_core.label_studio import to_task

    tasks = [to_task(name_of(file.as_posix()), prediction) for file, prediction in answers]
    print(json.dumps(tasks, indent=1))


def print_csv(answers: Iterable[tuple[Path, "Prediction"]], labels: tuple[str, ...]) -> None:
    """Print one CSV row per recording, below a header."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = ["file", "emotion", "confidence", "certain", "intensity", *map(column_of, labels)]
    writer.writerow([*header, "duration_s", "warnings"])
    for file, prediction in answers:
        probabilities = [f"{p:.4f}" for p in prediction.probabilities]
        codes = " ".join(warning.code for warning in prediction.warnings)
        certain, intensity = str(prediction.certain).lower(), prediction.intensity
        answer = [prediction.emotion, f"{prediction.confidence:.4f}", certain]
        answer += ["" if intensity is None else f"{intensity:.4f}", *probabilities]
        writer.writerow(
            [escape_formula(printable(file)), *answer, f"{prediction.duration_s:.2f}", codes]
        )


def percent(probability: float) -> str:
    """Return a probability as a whole percentage; `<1%` and `>99%` at the ends, as on the page."""
    if 0.0 < probability < 0.01:
        return "<1%"
    return ">99%" if 0.99 < probability < 1.0 else f"{probability:.0%}"


def _intensity_column(predictions: "Iterable[Prediction | None]") -> list[str]:
    """Return the head of the column of intensities; none where no prediction has one."""
    known = [p for p in predictions if p and p.intensity is not None]
    return ["intensity"] if known else []


def _intensity(prediction: "Prediction | None") -> str:
    if prediction is None or prediction.intensity is None:
        return ""
    return percent(prediction.intensity)


def print_table(answers: Iterable[tuple[Path, "Prediction"]]) -> None:
    """Print a table for the terminal, and the models that made it."""
    models: dict[str, None] = {}
    answers = list(answers)
    intensity = _intensity_column(prediction for _, prediction in answers)
    table = Table(
        Column("file", overflow="fold"), "emotion", "confidence", "next", *intensity, "length",
        "warnings", box=None, pad_edge=False,
    )  # fmt: skip
    for file, prediction in answers:
        following = ", ".join(f"{label} {percent(p)}" for label, p in prediction.ranked()[1:3])
        models[prediction.model] = None
        table.add_row(
            Text(printable(file)),
            f"{find_emotion(prediction.emotion).sign} {prediction.emotion}",
            percent(prediction.confidence) + ("" if prediction.certain else ", uncertain"),
            following,
            *(_intensity(prediction) for _ in intensity),
            f"{prediction.duration_s:.1f} s",
            ", ".join(warning.code for warning in prediction.warnings),
        )
    if table.row_count:
        Console().print(table)
        print(f"Analysed by {' and '.join(map(printable, models))}.")


def print_segments(segments: "Iterable[Segment]") -> None:
    """Print a table of segments for the terminal."""
    segments = list(segments)
    intensity = _intensity_column(segment.prediction for segment in segments)
    table = Table(
        "start", "end", "speaker", "emotion", "confidence", "next", *intensity,
        Column("text", overflow="fold"), "warnings", box=None, pad_edge=False,
    )  # fmt: skip
    for segment in segments:
        answer, share, following = "–", "", ""
        if prediction := segment.prediction:
            answer = f"{find_emotion(prediction.emotion).sign} {prediction.emotion}"
            share = percent(prediction.confidence) + ("" if prediction.certain else ", uncertain")
            rest = prediction.ranked()[1:3]
            following = ", ".join(f"{label} {percent(p)}" for label, p in rest)
        table.add_row(
            *map(_clock, (segment.start_s, segment.end_s)),
            Text(printable(segment.speaker or "–")),
            answer,
            share,
            following,
            *(_intensity(segment.prediction) for _ in intensity),
            Text(printable(segment.text or "")),
            ", ".join(warning.code for warning in segment.warnings),
        )
    Console().print(table)


def _clock(time_s: float) -> str:
    """Return a time as `h:mm:ss.t`."""
    minutes, seconds = divmod(round(time_s, 1), 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{seconds:04.1f}"


def print_speakers(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a row for each speaker, see `summarise_speakers`."""
    table = Table("speaker", "segments", "speech", "mostly", "then", box=None, pad_edge=False)
    for row in rows:
        ranked = sorted((row["probabilities"] or {}).items(), key=lambda pair: -pair[1])
        shares = [f"{label} {percent(p)}" for label, p in ranked[:3]]
        table.add_row(
            Text(printable(row["speaker"] or "–")),
            f"{row['n_segments']}",
            f"{row['speech_s']:.1f} s",
            *(shares[:1] or [""]),
            ", ".join(shares[1:]),
        )
    Console().print(table)


def print_scores(title: str, scores: "Scores", *, has_ece: bool = True) -> None:
    """Print the metrics of a set of clips, and a row per emotion."""
    low, high = scores.uar_interval
    ece = f", expected calibration error {scores.ece:.3f}" if has_ece else ""
    print(
        f"{printable(title)}: {scores.n_clips} clips: "
        f"UAR {scores.uar:.1%} (95% interval {low:.1%} to {high:.1%}), WAR {scores.war:.1%}{ece}"
    )
    _print_emotions(scores.per_emotion)


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the metrics of a system in a protocol, and a row per emotion."""
    print(f"{summary['protocol']}, {summary['recipe']}: {summary['n_clips']} clips")
    for name in ("uar", "war", "ece"):
        by_seed = [f"seed {seed}: {value:.3f}" for seed, value in summary[name]["by_seed"].items()]
        print(f"{name.upper()} {summary[name]['mean']:.3f} ({', '.join(by_seed)})")
    low, high = summary["uar"]["interval"]
    print(f"95% interval of the UAR: {low:.3f} to {high:.3f}")
    _print_emotions(summary["per_emotion"])


def _print_emotions(per_emotion: Mapping[str, Mapping[str, float]]) -> None:
    table = Table("emotion", "precision", "recall", "F1", "clips", box=None)
    for label, row in per_emotion.items():
        shares = [f"{row[key]:.1%}" for key in ("precision", "recall", "f1")]
        table.add_row(label, *shares, f"{row['support']:.0f}")
    Console().print(table)


def print_label_map(
    label_map: "LabelMap", labels: Sequence[str], counts: Mapping[str, int]
) -> None:
    """Print which labels are one emotion, and which are left out.

    Args:
        label_map: Classes of the labels.
        labels: The model's labels.
        counts: Clips of each label of the table.
    """
    table = Table("emotion", "clips", "in the table", "in the model", box=None)
    for name in (*label_map.classes, None):
        own = [label for label in counts if label_map.of_table.get(label) == name]
        model = [label for label in labels if label_map.of_model.get(label) == name]
        if own or model:
            n_clips = sum(counts[label] for label in own)
            table.add_row(name or "left out", f"{n_clips}", ", ".join(own), ", ".join(model))
    Console().print(table)


def print_answers(answers: "Answers", scores: "Scores", bins: "Sequence[CalibrationBin]") -> None:
    """Print metrics, confusion and calibration of a system on a table.

    Args:
        answers: Answers of the system.
        scores: Their metrics.
        bins: Their calibration; empty where they have no probabilities.
    """
    print_scores(answers.system, scores, has_ece=bool(bins))
    table = Table("actual", *(Column(label, justify="right") for label in answers.labels), box=None)
    for label, row in zip(answers.labels, scores.confusion, strict=True):
        if sum(row):
            table.add_row(label, *map(str, row))
    Console().print("\nAnswers", table)
    if bins:
        table = Table("confidence", "correct", "clips", box=None)
        for b in bins:
            table.add_row(f"{b.confidence:.1%}", f"{b.accuracy:.1%}", f"{b.n_clips}")
        Console().print("\nCalibration", table)


def print_groups(groups: "Iterable[GroupScore]") -> None:
    """Print the metrics of groups of clips, each beside all others."""
    table = Table("by", "group", "clips", "UAR (95% interval)", "WAR", "UAR minus others", box=None)
    for g in groups:
        low, high = g.uar_interval
        uar = f"{g.uar:.1%} ({100 * low:.1f} to {100 * high:.1f})"
        gap = "" if math.isnan(g.gap) else _points(g.gap, g.gap_interval)
        names = Text(printable(g.column)), Text(printable(g.group))
        table.add_row(*names, f"{g.n_clips}", uar, f"{g.war:.1%}", gap)
    Console().print("\nGroups", table)


def print_comparison(ours: "Answers", other: "Answers", comparison: "Comparison") -> None:
    """Print two systems side by side, on the clips that both have answered."""
    one, another = comparison.ours, comparison.other
    rows = [("UAR", one.uar, another.uar, comparison.uar_gap)]
    rows += [("WAR", one.war, another.war, comparison.war_gap)]
    names = (escape(printable(answers.system)) for answers in (ours, other))
    table = Table("", *names, "difference", box=None)
    for name, a, b, interval in rows:
        table.add_row(name, f"{a:.1%}", f"{b:.1%}", _points(a - b, interval))
    for label in one.per_emotion:
        a, b = (scores.per_emotion[label]["recall"] for scores in (one, another))
        table.add_row(f"recall of {label}", f"{a:.1%}", f"{b:.1%}", _points(a - b))
    Console().print(f"\nBoth, on {one.n_clips} clips", table)


def _points(difference: float, interval: tuple[float, float] | None = None) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    bounds = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return f"{100 * difference:+.1f}{bounds}"


def print_states(states: "Sequence[CorpusState]") -> None:
    """Print a row per corpus: how complete it is."""
    table = Table("corpus", Column("clips", justify="right"), Column("of", justify="right"),
                  Column("", overflow="fold"), box=None, pad_edge=False)  # fmt: skip
    for state in states:
        sign = ("✔", "green") if state.whole else ("✘", "red") if state.n_clips else "–"
        counts = (f"{state.n_clips:,}", f"{state.corpus.n_clips:,}")
        table.add_row(state.corpus.name, *counts, Text.assemble(sign, f" {printable(state.text)}"))
    Console().print(table)
