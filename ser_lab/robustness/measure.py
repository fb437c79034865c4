"""Robustness and trust: checks on test speakers and other sounds, and the page of results."""

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
from ser_core.quality import DOUBTFUL_SPEECH
from ser_lab.data.augment import NOISE, load_noises
from ser_lab.data.splits import split_readings
from ser_lab.data.tables import read_actors
from ser_lab.evaluate.records import describe_machine, write_text
from ser_lab.evaluate.shipped import held_out_clips
from ser_lab.metrics import calibration_bins, calibration_gap, unweighted_recall
from ser_lab.report.figures import markdown_table
from ser_lab.robustness.changes import RATE_HZ, Change, list_changes, list_silences
from ser_lab.train.export import current_commit

MOST_CLIPS = 240
"""Clips of each corpus that the changes are applied to, sampled once."""
HEATED = ("angry", "fearful", "disgust")
HEATED_FROM = 0.6
"""Confidence above which calm reading counts as wrongly called heated."""
SURE_SHARE = 0.75
"""Share of the clips, the surest ones, on which selective accuracy is measured."""
FEWEST = 100
"""Groups with fewer clips get no figure."""

PAGE, RECORD = "robustness.md", "robustness.json"
_TEMPLATE = Path(__file__).with_name("page.md")

Check = dict[str, Any]
"""One check: `group`, `check`, `figures` by name, `target` in words, `met`."""
Predictions = Sequence[Prediction | None]
"""Predictions for some clips, None where no speech was found."""


def measure_robustness(predictor: Predictor, data: Path) -> list[Check]:
    """Run every check, in the order of the protocol.

    Args:
        predictor: The model as it serves.
        data: Folder of the corpora, of noise and of calm reading.

    Raises:
        CorpusError: The corpus of a test speaker is missing.
    """
    table = held_out_clips(predictor.manifest, data)
    clips = [_load(Path(path)) for path in table["path"]]
    answers = _answer(predictor, track(clips, "As recorded"), table)
    _, paths = split_readings(data)
    reading = _predict_files(predictor, paths, "calm reading")
    return [
        *_changed_sound(predictor, data, clips, answers),
        *_trust(answers),
        *_speech_or_not(predictor, data, answers, reading),
        *_calm_reading(reading),
        *_people(answers, data),
    ]


def write_robustness(checks: Mapping[str, Sequence[Check]], out: Path) -> Path:
    """Write `robustness.md` and `robustness.json`.

    Args:
        checks: As `measure_robustness` gives them, by model.
        out: Folder of the documents.

    Returns:
        The path of the page.
    """
    record = {"machine": describe_machine(), "commit": current_commit(), "models": dict(checks)}
    write_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_text(out / PAGE, render_page(record))
    return out / PAGE


def render_page(record: Mapping[str, Any]) -> str:
    """Return the page as Markdown; `record` is the content of `robustness.json`."""
    models = record["models"]
    targets = {(c["group"], c["check"]): c["target"] for checks in models.values() for c in checks}
    found = {(m, c["group"], c["check"]): c for m, checks in models.items() for c in checks}
    sections = []
    for group in dict.fromkeys(group for group, _ in targets):
        lines = [
            [check, target, *(_cell(found.get((model, group, check))) for model in models)]
            for (of, check), target in targets.items()
            if of == group
        ]
        heads = ["check", "target", *(f"`{model}`" for model in models)]
        sections.append(f"## {group}\n\n{markdown_table(heads, lines)}\n")
    met = "; ".join(
        f"`{model}` meets {sum(check['met'] for check in checks)} of {len(checks)}"
        for model, checks in models.items()
    )
    return _TEMPLATE.read_text(encoding="utf-8").format(
        commit=record["commit"], clips=MOST_CLIPS, met=met, sections="\n".join(sections)
    )


def _cell(check: Check | None) -> str:
    if check is None:
        return "not measured"
    figures = ", ".join(f"{name} {_figure(name, x)}" for name, x in check["figures"].items())
    return f"{'met' if check['met'] else '**missed**'}: {figures}"


def _figure(name: str, value: float) -> str:
    return {"clips": f"{value:.0f}", "ECE": f"{value:.3f}"}.get(name, f"{value:.1%}")


def _load(path: Path) -> Waveform:
    return load_audio(path, AudioConfig(sample_rate_hz=RATE_HZ))


def _predict(predictor: Predictor, clip: Waveform) -> Prediction | None:
    try:
        return predictor.predict((RATE_HZ, clip))
    except NoSpeechError:
        return None


def _predict_files(predictor: Predictor, paths: Sequence[Path], title: str) -> Predictions:
    return [_predict(predictor, _load(path)) for path in track(paths, title)]


def _answer(predictor: Predictor, clips: Iterable[Waveform], table: pd.DataFrame) -> pd.DataFrame:
    """Return the clips with truth, predicted, right, confidence and rejected.

    The probabilities of a rejected clip are even.
    """
    even = (1.0 / len(LABELS),) * len(LABELS)
    predictions = [_predict(predictor, clip) for clip in clips]
    probabilities = np.array([p.probabilities if p is not None else even for p in predictions])
    truth = np.array([LABELS.index(emotion) for emotion in table["emotion"]])
    predicted = probabilities.argmax(axis=1)
    return table.assign(
        truth=truth,
        predicted=predicted,
        right=predicted == truth,
        confidence=probabilities.max(axis=1),
        rejected=[prediction is None for prediction in predictions],
    )


def _uar(answers: pd.DataFrame) -> float:
    """Return the unweighted average recall, averaged over the corpora."""
    return float(
        np.mean(
            [
                unweighted_recall(rows["truth"].to_numpy(), rows["right"].to_numpy())
                for _, rows in answers.groupby("corpus")
            ]
        )
    )


def _changed_sound(
    predictor: Predictor, data: Path, clips: Sequence[Waveform], answers: pd.DataFrame
) -> Iterator[Check]:
    sampled = _sample(answers["corpus"].to_numpy())
    before = answers.iloc[sampled]
    for change in list_changes(load_noises(data, RATE_HZ)):
        random = np.random.default_rng(0)
        changed = (change.apply(clips[i], random) for i in track(sampled, change.name))
        yield _compare(change, before, _answer(predictor, changed, before))


def _sample(corpora: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the positions of at most `MOST_CLIPS` of each corpus."""
    random = np.random.default_rng(0)
    rows = [random.permutation(np.flatnonzero(corpora == name)) for name in np.unique(corpora)]
    return np.sort(np.concatenate([r[:MOST_CLIPS] for r in rows]))


def _compare(change: Change, before: pd.DataFrame, after: pd.DataFrame) -> Check:
    unchanged = float((before["predicted"] == after["predicted"]).mean())
    loss = _uar(before) - _uar(after)
    targets, met = [], True
    if change.unchanged is not None:
        targets.append(f"≥ {change.unchanged:.0%} unchanged")
        met &= unchanged >= change.unchanged
    if change.loss is not None:
        targets.append(f"UAR loss ≤ {100 * change.loss:.0f} points")
        met &= loss <= change.loss
    figures = {"unchanged": unchanged, "UAR loss": loss}
    return _check("Changed sound", change.name, figures, ", ".join(targets), met)


def _trust(answers: pd.DataFrame) -> Iterator[Check]:
    confidence = answers["confidence"].to_numpy()
    ece = calibration_gap(calibration_bins(confidence, answers["right"].to_numpy()))
    yield _check("Trust", "calibration error, unseen speakers", {"ECE": ece}, "≤ 0.03", ece <= 0.03)
    sure = confidence >= np.quantile(confidence, 1.0 - SURE_SHARE)
    gain = _uar(answers[sure]) - _uar(answers)
    name = f"UAR on the {SURE_SHARE:.0%} surest clips, above all"
    yield _check("Trust", name, {"UAR gain": gain}, "≥ 5 points", gain >= 0.05)


def _speech_or_not(
    predictor: Predictor, data: Path, answers: pd.DataFrame, reading: Predictions
) -> Iterator[Check]:
    sounds = [_predict(predictor, clip) for _, clip in list_silences()]
    yield _rejections("silence, tones, chords, clicks, hiss", sounds, least=0.98)
    noise = data / NOISE
    paths = sorted(noise.iterdir()) if noise.is_dir() else []
    if noises := _predict_files(predictor, paths, NOISE):
        yield _rejections("recorded noise", noises, least=0.98)
    if reading:
        yield _rejections("calm reading", reading, most=0.01)
    rejected = float(answers["rejected"].mean())
    figures = {"refused": rejected}
    yield _check("Speech or not", "test clips refused", figures, "≤ 1%", rejected <= 0.01)


def _rejections(
    name: str, predictions: Predictions, *, least: float = 0.0, most: float = 1.0
) -> Check:
    rejected = float(np.mean([prediction is None for prediction in predictions]))
    warned = float(np.mean([_is_doubtful(prediction) for prediction in predictions]))
    target = f"≥ {least:.0%} refused or warned about" if least else f"≤ {most:.0%} refused"
    figures = {"refused": rejected, "warned about": warned, "clips": len(predictions)}
    met = rejected <= most and rejected + warned >= least
    return _check("Speech or not", name, figures, target, met)


def _is_doubtful(prediction: Prediction | None) -> bool:
    warnings = prediction.warnings if prediction is not None else ()
    return any(warning.code == DOUBTFUL_SPEECH for warning in warnings)


def _calm_reading(reading: Predictions) -> Iterator[Check]:
    answers = [prediction for prediction in reading if prediction is not None]
    if answers:
        heated = [a.emotion in HEATED and a.confidence > HEATED_FROM for a in answers]
        share = float(np.mean(heated))
        name = f"called {', '.join(HEATED)} above {HEATED_FROM:.0%}"
        figures = {"share": share, "clips": len(answers)}
        yield _check("Calm reading", name, figures, "≤ 5%", share <= 0.05)


def _people(answers: pd.DataFrame, data: Path) -> Iterator[Check]:
    for corpus, rows in answers.groupby("corpus", sort=False):
        yield from _gap(f"{corpus}: women and men", rows, rows["sex"])
        if corpus == CREMA_D.name:
            actors = read_actors(data).reindex(rows["speaker"])
            ages = pd.cut(actors["age"], [0, 30, 45, 200], labels=["to 30", "31 to 45", "over 45"])
            yield from _gap("crema-d: age", rows, ages)
            yield from _gap("crema-d: race", rows, actors["race"])


def _gap(name: str, answers: pd.DataFrame, groups: "pd.Series[Any]") -> Iterator[Check]:
    """Compare the UAR of the groups of clips that are large enough, if there are two."""
    group_of = groups.astype(str).to_numpy()
    figures = {
        group: _uar(answers[group_of == group])
        for group in sorted(set(group_of))
        if (group_of == group).sum() >= FEWEST
    }
    if len(figures) > 1:
        gap = max(figures.values()) - min(figures.values())
        yield _check("People", name, figures | {"gap": gap}, "gap ≤ 5 points", gap <= 0.05)


def _check(group: str, check: str, figures: dict[str, float], target: str, met: bool) -> Check:
    rounded = {name: round(float(figure), 4) for name, figure in figures.items()}
    return {
        "group": group, "check": check, "figures": rounded, "target": target, "met": bool(met)
    }  # fmt: skip
