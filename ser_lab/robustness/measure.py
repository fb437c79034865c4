"""The page on robustness, written from measured rows alone."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.progress import track

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.corpora import CREMA_D
from ser_core.errors import NoSpeechError
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from ser_core.preprocess import Waveform
from ser_lab.data.augment import NOISE, load_noises
from ser_lab.data.crema_d import read_actors
from ser_lab.evaluate.records import describe_machine, write_text
from ser_lab.evaluate.shipped import held_out_clips
from ser_lab.metrics import expected_calibration_error, unweighted_recall
from ser_lab.report.figures import markdown_table
from ser_lab.robustness.changes import RATE_HZ, Change, list_changes, list_silences
from ser_lab.train.export import current_commit
from ser_lab.train.speech_detector import READING

Heard = Sequence[Prediction | None]
"""What was heard in some clips, None where nobody spoke."""


class Answers:
    """What a model answered for some clips.

    Attributes:
        table: The clips.
        probabilities: (n_clips, n_labels); even where no speech was heard.
        heard: (n_clips,) whether speech was heard.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        probabilities: npt.NDArray[np.float64],
        heard: npt.NDArray[np.bool_],
    ) -> None:
        """Take them as they are."""
        self.table, self.probabilities, self.heard = table, probabilities, heard
        self.truth = np.array([LABELS.index(emotion) for emotion in table["emotion"]])
        self.predicted = probabilities.argmax(axis=1)

    @classmethod
    def of(cls, predictor: Predictor, clips: Iterable[Waveform], table: pd.DataFrame) -> "Answers":
        """Ask a model."""
        said = [listen(predictor, clip) for clip in clips]
        even = (1.0 / len(LABELS),) * len(LABELS)
        rows = [even if answer is None else answer.probabilities for answer in said]
        return cls(table, np.array(rows), np.array([answer is not None for answer in said]))

    def part(self, rows: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> "Answers":
        """Some of them."""
        return Answers(
            self.table[rows] if rows.dtype == bool else self.table.iloc[rows],
            self.probabilities[rows],
            self.heard[rows],
        )

    @property
    def uar(self) -> float:
        """Unweighted average recall, the mean over corpora of what each has."""
        corpora = self.table["corpus"].to_numpy()
        right = self.predicted == self.truth
        return float(
            np.mean(
                [
                    unweighted_recall(self.truth[corpora == name], right[corpora == name])
                    for name in np.unique(corpora)
                ]
            )
        )


def listen(predictor: Predictor, clip: Waveform) -> Prediction | None:
    """What a model hears in a clip; None where nobody speaks."""
    try:
        return predictor.predict((RATE_HZ, clip))
    except NoSpeechError:
        return None


Row = dict[str, Any]
"""One check: `group`, `check`, `figures` by name, `target` in words, `met`."""

MOST_CLIPS = 240
"""Clips of each tested corpus under each change, drawn once."""
HEATED = ("angry", "fearful", "disgust")
HEATED_FROM = 0.6
"""Confidence from which a calm reader is wrongly called heated."""
SURE_SHARE = 0.75
"""Share of the clips, the surest ones, on which selective accuracy is measured."""
FEWEST = 100
"""A group of fewer clips has no figure of its own."""


def measure_robustness(predictor: Predictor, data: Path) -> list[Row]:
    """Every check, in the order of the protocol.

    Args:
        predictor: The model as it serves.
        data: Folder of the corpora, of noise and of calm reading.

    Raises:
        CorpusError: The corpus of a test speaker is not there.
    """
    table = held_out_clips(predictor.manifest, data)
    clips = [_load(Path(path)) for path in table["path"]]
    answers = Answers.of(predictor, track(clips, "As recorded"), table)
    readers = _ask(predictor, data / READING)
    return [
        *_under_changes(predictor, data, table, clips, answers),
        *_trust(answers),
        *_speech_or_not(predictor, data, answers, readers),
        *_calm_reading(readers),
        *_fairness(answers, data),
    ]


def _load(path: Path) -> Waveform:
    return load_audio(path, AudioConfig(sample_rate_hz=RATE_HZ))


def _under_changes(
    predictor: Predictor,
    data: Path,
    table: pd.DataFrame,
    clips: Sequence[Waveform],
    answers: Answers,
) -> Iterator[Row]:
    drawn = _draw(table)
    before = answers.part(drawn)
    for change in list_changes(load_noises(data, RATE_HZ)):
        random = np.random.default_rng(0)
        changed = (change.apply(clips[i], random) for i in track(drawn, change.name))
        after = Answers.of(predictor, changed, before.table)
        yield _change_row(change, before, after)


def _draw(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Places of at most `MOST_CLIPS` of each corpus."""
    random = np.random.default_rng(0)
    corpora = table["corpus"].to_numpy()
    places = [random.permutation(np.flatnonzero(corpora == name)) for name in np.unique(corpora)]
    return np.sort(np.concatenate([p[:MOST_CLIPS] for p in places]))


def _change_row(change: Change, before: Answers, after: Answers) -> Row:
    unchanged = float(np.mean(before.predicted == after.predicted))
    loss = before.uar - after.uar
    asked, met = [], True
    if change.unchanged is not None:
        asked.append(f"≥ {change.unchanged:.0%} unchanged")
        met &= unchanged >= change.unchanged
    if change.loss is not None:
        asked.append(f"UAR loss ≤ {100 * change.loss:.0f} points")
        met &= loss <= change.loss
    figures = {"unchanged": unchanged, "UAR loss": loss}
    return _row("Changed sound", change.name, figures, ", ".join(asked), met)


def _trust(answers: Answers) -> Iterator[Row]:
    ece = expected_calibration_error(answers.truth, answers.probabilities)
    yield _row("Trust", "calibration error, unseen speakers", {"ECE": ece}, "≤ 0.03", ece <= 0.03)
    confidence = answers.probabilities.max(axis=1)
    sure = confidence >= np.quantile(confidence, 1.0 - SURE_SHARE)
    gain = answers.part(sure).uar - answers.uar
    yield _row(
        "Trust",
        f"UAR on the {SURE_SHARE:.0%} surest clips, above all",
        {"UAR gain": gain},
        "≥ 5 points",
        gain >= 0.05,
    )


def _speech_or_not(
    predictor: Predictor, data: Path, answers: Answers, readers: Heard
) -> Iterator[Row]:
    sounds = [listen(predictor, clip) for _, clip in list_silences()]
    yield _refusals("silence, tones, chords, clicks, hiss", sounds, least=0.99)
    if noises := _ask(predictor, data / NOISE):
        yield _refusals("recorded noise", noises, least=0.99)
    if readers:
        yield _refusals("calm reading", readers, most=0.01)
    refused = float(np.mean(~answers.heard))
    yield _row("Speech or not", "test clips refused", {"refused": refused}, "≤ 1%", refused <= 0.01)


def _refusals(name: str, said: Heard, *, least: float = 0.0, most: float = 1.0) -> Row:
    refused = float(np.mean([answer is None for answer in said]))
    target = f"≥ {least:.0%} refused" if least else f"≤ {most:.0%} refused"
    met = least <= refused <= most
    return _row("Speech or not", name, {"refused": refused, "clips": len(said)}, target, met)


def _calm_reading(readers: Heard) -> Iterator[Row]:
    heard = [answer for answer in readers if answer is not None]
    if heard:
        share = float(np.mean([a.emotion in HEATED and a.confidence > HEATED_FROM for a in heard]))
        yield _row(
            "Calm reading",
            f"called {', '.join(HEATED)} above {HEATED_FROM:.0%}",
            {"share": share, "clips": len(heard)},
            "≤ 5%",
            share <= 0.05,
        )


def _ask(predictor: Predictor, folder: Path) -> Heard:
    """What a model hears in each recording of a folder; nothing where there is no such folder."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [listen(predictor, _load(path)) for path in track(paths, folder.name)]


def _fairness(answers: Answers, data: Path) -> Iterator[Row]:
    for corpus in answers.table["corpus"].unique():
        part = answers.part((answers.table["corpus"] == corpus).to_numpy())
        yield from _gap(f"{corpus}: women and men", part, part.table["sex"])
        if corpus == CREMA_D.name:
            actors = read_actors(data).reindex(part.table["speaker"])
            ages = pd.cut(actors["age"], [0, 30, 45, 200], labels=["to 30", "31 to 45", "over 45"])
            yield from _gap("crema-d: age", part, ages)
            yield from _gap("crema-d: race", part, actors["race"])


def _gap(name: str, answers: Answers, groups: "pd.Series[Any]") -> Iterator[Row]:
    """UAR of each group with enough clips, and the widest gap; nothing where one alone has them.

    Args:
        name: What the report calls it.
        answers: Of one corpus.
        groups: (n_clips,) who speaks.
    """
    of = groups.astype(str).to_numpy()
    figures = {
        group: answers.part(of == group).uar
        for group in sorted(set(of))
        if (of == group).sum() >= FEWEST
    }
    if len(figures) > 1:
        gap = max(figures.values()) - min(figures.values())
        yield _row("People", name, figures | {"gap": gap}, "gap ≤ 5 points", gap <= 0.05)


def _row(group: str, check: str, figures: dict[str, float], target: str, met: bool) -> Row:
    rounded = {name: round(float(figure), 4) for name, figure in figures.items()}
    return {
        "group": group, "check": check, "figures": rounded, "target": target, "met": bool(met)
    }  # fmt: skip


DOCUMENT, RECORD = "robustness.md", "robustness.json"
UNHEARD = "speech.json"
"""What `train-detector` writes, where it has been run."""
_COUNTS = ("clips",)
_ERRORS = ("ECE",)

_INTRODUCTION = """\
# Robustness and trust

Written by `python -m ser_core robustness` at commit {commit}; never by hand. Each shipped
model runs through the serving pipeline on clips of unseen speakers. Every change is applied to the
same {clips} clips of each corpus. UAR is the mean recall, averaged over the corpora. The noise
recordings were also used to augment the training clips, so the noise is known to the models; the
speakers are not.

The speech detector was trained on the same noise and the same readers. The section "Speech or not,
unseen" gives its figures for kinds of noise and readers that were left out of its training
(`python -m ser_core train-detector`).

"""


def write_robustness(rows: Mapping[str, Sequence[Row]], out: Path) -> Path:
    """Write `robustness.md` and `robustness.json`.

    Args:
        rows: What `measure_robustness` gave, by model.
        out: Folder of the documents.

    Returns:
        The document's path.
    """
    commit = current_commit()
    record = {
        "machine": describe_machine(),
        "commit": commit,
        "models": {name: list(r) for name, r in rows.items()},
    }
    write_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    text = _INTRODUCTION.format(clips=MOST_CLIPS, commit=commit) + _tables(rows)
    write_text(out / DOCUMENT, text + _unheard(out / UNHEARD))
    return out / DOCUMENT


def _unheard(record: Path) -> str:
    """What the speech detector refuses of what it never heard the like of."""
    if not record.is_file():
        return ""
    refused = json.loads(record.read_text())
    lines = [
        [what, target, f"{100 * refused[name]:.1f}%"]
        for name, what, target in (
            ("noise", "noise of other kinds", "≥ 99% refused"),
            ("librispeech", "calm reading, other readers", "≤ 1% refused"),
            ("test", "test clips", "≤ 1% refused"),
        )
    ]
    table = markdown_table(["check", "target", "refused"], lines)
    return f"\n## Speech or not, unseen\n\n{table}\n"


def _tables(rows: Mapping[str, Sequence[Row]]) -> str:
    models = list(rows)
    checks = {(row["group"], row["check"]): row["target"] for r in rows.values() for row in r}
    found = {(name, row["group"], row["check"]): row for name, r in rows.items() for row in r}
    parts = []
    for group in dict.fromkeys(group for group, _ in checks):
        lines = [
            [check, target, *(_cell(found.get((model, group, check))) for model in models)]
            for (of, check), target in checks.items()
            if of == group
        ]
        heads = ["check", "target", *(f"`{model}`" for model in models)]
        parts.append(f"## {group}\n\n{markdown_table(heads, lines)}")
    met = {name: sum(row["met"] for row in r) for name, r in rows.items()}
    told = "; ".join(f"`{name}` meets {met[name]} of {len(rows[name])}" for name in models)
    return f"{told}.\n\n" + "\n\n".join(parts) + "\n"


def _cell(row: Row | None) -> str:
    if row is None:
        return "not measured"
    told = ", ".join(f"{name} {_figure(name, value)}" for name, value in row["figures"].items())
    return f"{'met' if row['met'] else '**missed**'}: {told}"


def _figure(name: str, value: float) -> str:
    if name in _COUNTS:
        return f"{value:.0f}"
    if name in _ERRORS:
        return f"{value:.3f}"
    return f"{100 * value:.1f}%"
