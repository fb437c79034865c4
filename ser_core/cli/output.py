"""Results and figures as the command line prints them."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ser_core.labels import column_of, find_emotion
from ser_core.names import escape_formula, name_of, printable

if TYPE_CHECKING:
    from ser_core.prediction import Prediction
    from ser_lab.fetch import CorpusState
    from ser_lab.metrics import Scores


def print_json(answers: Iterable[tuple[Path, "Prediction"]]) -> None:
    """Print one JSON object per recording and line."""
    for file, prediction in answers:
        print(json.dumps({"file": name_of(file)} | prediction.to_dict()), flush=True)


def print_csv(answers: Iterable[tuple[Path, "Prediction"]], labels: tuple[str, ...]) -> None:
    """Print one CSV row per recording, below a header."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = ["file", "emotion", "confidence", "certain", *map(column_of, labels)]
    writer.writerow([*header, "duration_s", "warnings"])
    for file, prediction in answers:
        probabilities = [f"{p:.4f}" for p in prediction.probabilities]
        codes = " ".join(warning.code for warning in prediction.warnings)
        certain = str(prediction.certain).lower()
        answer = [prediction.emotion, f"{prediction.confidence:.4f}", certain, *probabilities]
        writer.writerow(
            [escape_formula(printable(file)), *answer, f"{prediction.duration_s:.2f}", codes]
        )


def print_table(answers: Iterable[tuple[Path, "Prediction"]]) -> None:
    """Print a table for the terminal."""
    table = Table(
        Column("file", overflow="fold"), "emotion", "confidence", "next", "length", "warnings",
        box=None, pad_edge=False,
    )  # fmt: skip
    for file, prediction in answers:
        following = ", ".join(f"{label} {p:.0%}" for label, p in prediction.ranked()[1:3])
        table.add_row(
            Text(printable(file)),
            f"{find_emotion(prediction.emotion).sign} {prediction.emotion}",
            f"{prediction.confidence:.0%}" + ("" if prediction.certain else ", uncertain"),
            following,
            f"{prediction.duration_s:.1f} s",
            ", ".join(warning.code for warning in prediction.warnings),
        )
    if table.row_count:
        Console().print(table)


def print_scores(title: str, scores: "Scores") -> None:
    """Print the metrics of a set of clips, and a row per emotion."""
    low, high = scores.uar_interval
    print(
        f"{title}: {scores.n_clips} clips: "
        f"UAR {scores.uar:.1%} (95% interval {low:.1%} to {high:.1%}), "
        f"WAR {scores.war:.1%}, expected calibration error {scores.ece:.3f}"
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


def print_states(states: "Sequence[CorpusState]") -> None:
    """Print a row per corpus: how complete it is."""
    table = Table("corpus", Column("clips", justify="right"), Column("of", justify="right"),
                  Column("", overflow="fold"), box=None, pad_edge=False)  # fmt: skip
    for state in states:
        sign = ("✔", "green") if state.whole else ("✘", "red") if state.n_clips else "–"
        counts = (f"{state.n_clips:,}", f"{state.corpus.n_clips:,}")
        table.add_row(state.corpus.name, *counts, Text.assemble(sign, f" {printable(state.text)}"))
    Console().print(table)
