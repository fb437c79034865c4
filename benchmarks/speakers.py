"""Speakers of made-up dialogues: how often they are confused, and what knowing them is worth.

    python -m benchmarks.speakers --data ../shared/data

Writes docs/speakers.json and docs/speakers.md.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track
from scipy.optimize import linear_sum_assignment

from benchmarks import render, table, write
from ser_core import diarization
from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig, PipelineConfig
from ser_core.corpora import CORPORA, Clip
from ser_core.diarization import DiarizationConfig, adapt_speakers, assign_speakers
from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.preprocess import Waveform, preprocess
from ser_core.registry import open_predictor
from ser_core.segments import Segment, cut, segment
from ser_core.speaker_encoder import Numbers, embed_voice
from ser_core.speech_detector import LEVEL, RATE_HZ
from ser_lab.data.augment import NOISE
from ser_lab.data.splits import CREMA_D_SPLIT, SHIPPED_SPLIT
from ser_lab.evaluate.records import describe_machine

CONFIG = PipelineConfig(AudioConfig(sample_rate_hz=RATE_HZ), LEVEL)
DEVELOPMENT = {*SHIPPED_SPLIT.development, *CREMA_D_SPLIT.development}
N_TURNS = 16
"""Clips of a dialogue."""
PAUSE_S = (0.1, 1.0)
SNR_DB = 20.0
FRAME_S, COLLAR_S = 0.01, 0.25
"""Step of the count, and how far from a boundary of the truth nothing counts."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A made-up dialogue.

    Attributes:
        waveform: (n_samples,) float32 at `RATE_HZ`.
        turns: Who speaks when; `text` is the emotion.
    """

    waveform: Waveform
    turns: list[Segment]


def make_dialogue(
    clips: Sequence[Clip], n_speakers: int, noise: Waveform, random: np.random.Generator
) -> Dialogue:
    """Join clips of some speakers, who take turns in random order, with pauses and noise."""
    speakers = random.permutation(sorted({str(clip.speaker) for clip in clips}))[:n_speakers]
    pieces, turns, n_samples, last = list[Waveform](), list[Segment](), 0, ""
    while len(turns) < N_TURNS:
        name = random.choice([speaker for speaker in speakers if speaker != last])
        own = [clip for clip in clips if str(clip.speaker) == name]
        clip = own[random.integers(len(own))]
        try:
            speech = preprocess(load_audio(clip.path, CONFIG.audio), CONFIG).samples
        except SerError:  # silence
            continue
        pause = np.zeros(round(random.uniform(*PAUSE_S) * RATE_HZ), np.float32)
        start_s = (n_samples + len(pause)) / RATE_HZ
        end_s = start_s + len(speech) / RATE_HZ
        turns.append(Segment(start_s, end_s, str(name), text=clip.emotion))
        pieces += [pause, speech]
        n_samples += len(pause) + len(speech)
        last = str(name)
    clean = np.concatenate(pieces)
    power = np.mean(clean**2) / np.mean(noise**2) * 10.0 ** (-SNR_DB / 10.0)
    mixed = clean + np.sqrt(power) * np.resize(noise, len(clean))
    return Dialogue(np.asarray(mixed / np.abs(mixed).max(), np.float32), turns)


def dialogues(
    data: Path, corpora: Sequence[str], n_dialogues: int, seed: int
) -> Iterator[tuple[str, int, Dialogue]]:
    """Yield the corpus, the number of speakers and the dialogue."""
    noises = sorted((data / NOISE).iterdir())
    for name in corpora:
        clips = CORPORA[name].find_clips(data)
        held_out = [clip for clip in clips if f"{name}/{clip.speaker}" in DEVELOPMENT]
        for n_speakers in (2, 3, 4):
            for i in range(n_dialogues):
                random = np.random.default_rng([seed, i, n_speakers])
                noise = load_audio(noises[random.integers(len(noises))], CONFIG.audio)
                yield name, n_speakers, make_dialogue(held_out or clips, n_speakers, noise, random)


def error_rate(found: Sequence[Segment], turns: Sequence[Segment]) -> dict[str, float]:
    """Return seconds of speech, and of it missed, falsely found, and of another speaker.

    As NIST's md-eval with a collar: speakers are matched one to one so that the error is least.
    """
    n_frames = round(max(s.end_s for s in (*found, *turns)) / FRAME_S) + 1
    truth, guess = (np.zeros(n_frames, np.int64) for _ in range(2))
    counted = np.ones(n_frames, bool)
    names = [sorted({s.speaker or "" for s in side}) for side in (turns, found)]
    for side, frames, known in ((turns, truth, names[0]), (found, guess, names[1])):
        for s in side:
            span = slice(round(s.start_s / FRAME_S), round(s.end_s / FRAME_S))
            frames[span] = known.index(s.speaker or "") + 1
    for s in turns:
        for at_s in (s.start_s, s.end_s):
            near = [max(0, round((at_s + shift) / FRAME_S)) for shift in (-COLLAR_S, COLLAR_S)]
            counted[slice(*near)] = False
    truth, guess = truth[counted], guess[counted]
    shared = np.zeros((len(names[0]) + 1, len(names[1]) + 1))
    np.add.at(shared, (truth, guess), FRAME_S)
    both = shared[1:, 1:]
    matched = both[linear_sum_assignment(both, maximize=True)].sum()
    return {
        "speech_s": float(shared[1:].sum()),
        "missed_s": float(shared[1:, 0].sum()),
        "false_s": float(shared[0, 1:].sum()),
        "confused_s": float(both.sum() - matched),
    }


def measure(made: Iterable[tuple[str, int, Dialogue]]) -> list[dict[str, Any]]:
    """Return the errors of each dialogue, cut by the detector and where the turns are given."""
    rows = []
    vectors = dict[bytes, Numbers]()

    def embed_once(samples: Waveform) -> Numbers:
        key = samples.tobytes()
        if key not in vectors:
            vectors[key] = embed_voice(samples)
        return vectors[key]

    diarization.embed_voice = (
        embed_once  # both ways with a number have the windows of those without
    )
    for corpus, n_speakers, dialogue in made:
        source = RATE_HZ, dialogue.waveform
        bare = [Segment(turn.start_s, turn.end_s, text="") for turn in dialogue.turns]
        ways = {"detector": list(cut(source)), "turns": list(cut(source, given=bare))}
        for way, segments in ways.items():
            for known in (None, n_speakers):
                start = time.thread_time()
                found = assign_speakers(segments, DiarizationConfig(n_speakers=known))
                row = {"corpus": corpus, "n_speakers": n_speakers, "segments": way}
                row |= {"known": known is not None, "n_found": len({s.speaker for s in found})}
                row["cpu_s"] = round(time.thread_time() - start, 2)
                rows.append(row | error_rate(found, dialogue.turns))
    return rows


def measure_adaptation(
    made: Iterable[tuple[str, int, Dialogue]], predictor: Predictor
) -> dict[str, dict[str, float]]:
    """Return WAR and UAR of the answers on turns: alone, and adapted to speakers."""
    answers = defaultdict[str, list[str]](list)
    truth: list[str] = []
    for _, _, dialogue in made:
        source = RATE_HZ, dialogue.waveform
        bare = [Segment(turn.start_s, turn.end_s, text="") for turn in dialogue.turns]
        alone = list(segment(source, predictor, given=bare))
        known = DiarizationConfig(n_speakers=len({turn.speaker for turn in dialogue.turns}))
        clustered = assign_speakers(cut(source, given=bare), known)
        ways = {"alone": alone}
        for way, names in (("speakers found", clustered), ("speakers given", dialogue.turns)):
            pairs = zip(alone, names, strict=True)
            ways[way] = adapt_speakers([replace(a, speaker=n.speaker) for a, n in pairs])
        kept = [i for i, a in enumerate(alone) if a.prediction]
        truth += [dialogue.turns[i].text or "" for i in kept]
        for way, segments in ways.items():
            answers[way] += [p.emotion for i in kept if (p := segments[i].prediction)]
    figures = {}
    for way, given in answers.items():
        right = np.array(given) == np.array(truth)
        recalls = [right[np.array(truth) == emotion].mean() for emotion in sorted(set(truth))]
        figures[way] = {"war": float(right.mean()), "uar": float(np.mean(recalls))}
    return figures | {"clips": {"n": len(truth)}}


def summarise(rows: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield a row of the page for each number of speakers and way."""
    for n_speakers in (2, 3, 4):
        for way in ("detector", "turns"):
            for known in (False, True):
                key = {"n_speakers": n_speakers, "segments": way, "known": known}
                own = [row for row in rows if key.items() <= row.items()]
                speech_s = sum(row["speech_s"] for row in own)
                parts = [
                    sum(row[part] for row in own) / speech_s
                    for part in ("missed_s", "false_s", "confused_s")
                ]
                right = sum(row["n_found"] == n_speakers for row in own)
                number = "given" if known else f"found: right in {right} of {len(own)}"
                yield [
                    str(n_speakers), way, number,
                    f"{sum(parts):.1%}", *(f"{part:.1%}" for part in parts),
                ]  # fmt: skip


def main(
    data: Annotated[Path, typer.Option(help="Folder of the corpora and noise.")],
    model: Annotated[str, typer.Option(help="Model whose answers are adapted.")] = "accurate",
    corpora: Annotated[str, typer.Option(help="Corpora of the clips.")] = "ravdess,crema-d",
    n_dialogues: Annotated[int, typer.Option(help="Dialogues by corpus and number.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the dialogues.")] = 0,
) -> None:
    """Measure speakers on dialogues, and write docs/speakers.json and docs/speakers.md."""
    made = list(track(dialogues(data, corpora.split(","), n_dialogues, seed), "Making dialogues"))
    rows = measure(track(made, "Finding speakers"))
    adaptation = measure_adaptation(track(made, "Adapting"), open_predictor(model))
    figures = {
        "machine": describe_machine(), "seed": seed, "n_dialogues": n_dialogues, "model": model,
        "rows": rows, "adaptation": adaptation,
    }  # fmt: skip
    clips = adaptation.pop("clips")["n"]
    shares = [[way, f"{row['uar']:.1%}", f"{row['war']:.1%}"] for way, row in adaptation.items()]
    found = [row for row in rows if not row["known"] and row["segments"] == "detector"]
    speech_s = sum(row["speech_s"] for row in found)
    page = render(
        "speakers", figures, rows=table(summarise(rows)), shares=table(shares), clips=clips,
        corpora=corpora.replace(",", " and "), total=len(made),
        cpu=f"{sum(row['cpu_s'] for row in found) / speech_s:.2f}",
        settings=DiarizationConfig(),
    )  # fmt: skip
    write("speakers", figures, page)


if __name__ == "__main__":
    typer.run(main)
