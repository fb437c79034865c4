"""Stability, delay and recall of the answers of the live view.

    python -m benchmarks.live --data ../shared/data --model compact --model accurate

Writes docs/live.md and docs/live.json.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from benchmarks import render, table, write
from ser_core.audio.load import AudioSource, load_audio
from ser_core.config import AudioConfig
from ser_core.live import Chunk, LiveAnswer, LiveConfig, LiveSession
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from ser_core.preprocess import Waveform
from ser_core.registry import open_predictor
from ser_lab.data.splits import list_clips, split_readings
from ser_lab.evaluate.records import describe_machine
from ser_lab.metrics import unweighted_recall

RATE_HZ = 16_000
READING_S = 20.0
PART_S = 6.0
"""Length of each emotion before and after a change."""
PAUSE_S = 1.0
LATEST_S = 2.5
HEATED = ("angry", "fearful", "disgust")
SPOKEN = AudioConfig(sample_rate_hz=RATE_HZ)


class Remembered:
    """A predictor that answers the same window once, for sessions with the same sound."""

    def __init__(self, predictor: Predictor) -> None:
        """Take the predictor."""
        self._predictor, self._last = predictor, (b"", None)

    def predict(self, source: AudioSource) -> Prediction:
        """See `Predictor.predict`."""
        window = source[1].tobytes()  # type: ignore[index, union-attr]
        if self._last[0] != window:
            self._last = (window, self._predictor.predict(source))  # type: ignore[assignment]
        return self._last[1]  # type: ignore[return-value]


def chunks(samples: Waveform) -> Iterator[Chunk]:
    """Yield (n_samples,) int16 of half a second each."""
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32_767.0).astype(np.int16)
    step = round(LiveConfig().every_s * RATE_HZ)
    yield from (pcm[i : i + step] for i in range(0, len(pcm) - step + 1, step))


def listen(predictor: Predictor, samples: Waveform) -> list[LiveAnswer]:
    """Return the answers of a session."""
    session = LiveSession()
    for chunk in chunks(samples):
        session.process(RATE_HZ, chunk, predictor)
    return session.answers


def measure_readings(predictor: Predictor, paths: Sequence[Path]) -> dict[str, float]:
    """Measure how often the settled emotion of calm readings changes."""
    changes, heated, n_answers = [], 0, 0
    for path in track(paths, "calm reading"):
        answers = listen(predictor, np.resize(load_audio(path, SPOKEN), round(READING_S * RATE_HZ)))
        settled = [answer.settled for answer in answers if answer.settled]
        changes.append(sum(a != b for a, b in pairwise(settled)))
        certain = [a.prediction for a in answers if a.prediction and a.prediction.certain]
        heated += sum(prediction.emotion in HEATED for prediction in certain)
        n_answers += len(answers)
    return {
        "most changes": max(changes),
        "mean changes": float(np.mean(changes)),
        "certain and heated": heated / n_answers,
    }


def measure_changes(predictor: Predictor, clips: pd.DataFrame) -> dict[str, float]:
    """Measure how long after a change of emotion the other one settles."""
    late_s = []
    length = round(PART_S * RATE_HZ)
    for _, own in track([*clips.groupby("speaker")], "change"):
        parts = {}
        for emotion, rows in own.groupby("emotion"):
            speech = [load_audio(Path(path), SPOKEN) for path in rows["path"][:2]]
            part = np.resize(np.concatenate(speech), length)
            parts[emotion] = part, predictor.predict((RATE_HZ, part)).emotion
        for one, other in permutations(("calm", "happy", "sad", "angry"), 2):
            if {one, other} <= {*parts} and parts[one][1] != parts[other][1]:
                answers = listen(predictor, np.concatenate([parts[one][0], parts[other][0]]))
                settled = answers[-1].settled
                before = [a.settled for a in answers if a.at_s <= PART_S]
                after = [a for a in answers if a.at_s > PART_S and a.settled == settled]
                is_new = after and settled not in (parts[one][1], before[-1])
                late_s.append(after[0].at_s - PART_S if is_new else np.inf)
    return {
        "changes": len(late_s),
        "within 2.5 s": float(np.mean(np.array(late_s) <= LATEST_S)),
        "median delay": float(np.median(late_s)),
    }


def measure_adaptation(predictor: Predictor, clips: pd.DataFrame, n_clips: int) -> dict[str, float]:
    """Measure UAR of the last answer to each clip, with and without adaptation."""
    labels = predictor.labels
    pause = np.zeros(round(PAUSE_S * RATE_HZ), np.float32)
    once = Remembered(predictor)
    found: list[tuple[int, int, int]] = []
    for _, own in track([*clips.groupby("speaker")], "adaptation"):
        sessions = [LiveSession(LiveConfig(adapt=adapt, limit_s=np.inf)) for adapt in (False, True)]
        for row in own.sample(min(n_clips, len(own)), random_state=0).itertuples():
            last: list[Prediction | None] = [None, None]
            for chunk in chunks(np.concatenate([load_audio(Path(row.path), SPOKEN), pause])):
                for i, session in enumerate(sessions):
                    answer = session.process(RATE_HZ, chunk, once)
                    last[i] = (answer and answer.prediction) or last[i]
            if last[0] and last[1]:
                indices = (labels.index(one.emotion) for one in last if one)
                found.append((labels.index(row.emotion), *indices))  # type: ignore[arg-type]
    truth, without, adapted = np.array(found).T
    return {
        "clips": len(found),
        "UAR": unweighted_recall(truth, without == truth),
        "UAR adapted": unweighted_recall(truth, adapted == truth),
    }


def main(
    data: Annotated[Path, typer.Option(help="Folder of the corpora.")],
    model: Annotated[list[str], typer.Option(help="As for predict.")] = ["compact", "accurate"],  # noqa: B006
    readings: Annotated[int, typer.Option(help="Number of readings.")] = 40,
    clips: Annotated[int, typer.Option(help="Clips of a session.")] = 20,
) -> None:
    """Measure, and write docs/live.md."""
    _, paths = split_readings(data)
    paths = paths[:: max(1, len(paths) // readings)][:readings]
    listed = list_clips(data, ["ravdess", "crema-d"])
    figures: dict[str, Any] = {"machine": describe_machine(), "models": {}}
    for name in model:
        predictor = open_predictor(name)
        tested = listed[listed["speaker"].isin(predictor.manifest.split["test"])]
        figures["models"][name] = (
            measure_readings(predictor, paths)
            | measure_changes(predictor, tested[tested["corpus"] == "ravdess"])
            | measure_adaptation(predictor, tested, clips)
        )
    names = {
        "most changes": f"calm reading: most changes in {READING_S:.0f} s", "mean changes": "mean",
        "certain and heated": "certain of anger, fear or disgust, share of the answers",
        "changes": "changes", "within 2.5 s": "of these settled within 2.5 s",
        "median delay": "median delay, s", "clips": "clips in sessions",
        "UAR": "UAR", "UAR adapted": "UAR, adapted",
    }  # fmt: skip
    measured = figures["models"].values()
    rows = [[label, *(_shown(key, one[key]) for one in measured)] for key, label in names.items()]
    page = render(
        "live",
        figures,
        options="".join(f" --model {name}" for name in model),
        heads=" | ".join(f"`{name}`" for name in model),
        lines="|".join("---" for _ in model),
        rows=table(rows),
        n_readings=len(paths),
        reading_s=READING_S,
        part_s=PART_S,
        n_clips=clips,
    )
    write("live", figures, page)


def _shown(key: str, value: float) -> str:
    if "UAR" in key or key in ("within 2.5 s", "certain and heated"):
        return f"{value:.1%}"
    return f"{value:.0f}" if isinstance(value, int) else f"{value:.1f}"


if __name__ == "__main__":
    typer.run(main)
