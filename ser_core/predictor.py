"""The whole path from a recording to a `Prediction`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ser_core.audio import AudioSource, load_audio
from ser_core.config import PipelineConfig
from ser_core.errors import NoSpeechError
from ser_core.features import Features, cut_windows, extract_features, pad_features
from ser_core.manifest import Manifest
from ser_core.model import EmotionModel, Probabilities, load_model
from ser_core.preprocess import Speech, Waveform, preprocess
from ser_core.quality import QualityWarning, assess_quality
from ser_core.speech import check_speech


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model heard in one recording.

    Attributes:
        labels: Emotions in the model's order.
        probabilities: One a label, in the same order; they sum to 1.
        duration_s: Length of the whole recording.
        speech_start_s: Where the part that was judged begins.
        speech_end_s: Where it ends.
        warnings: What makes the answer less sure.
        timings_ms: Milliseconds of each stage, and of all as `total`.
        model: Name and version of the model that answered.
        certain: Whether the model is sure enough to count on.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    duration_s: float = 0.0
    speech_start_s: float = 0.0
    speech_end_s: float = 0.0
    warnings: tuple[QualityWarning, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    model: str = ""
    certain: bool = True

    @classmethod
    def from_probabilities(
        cls, probabilities: Sequence[float] | npt.NDArray[Any], labels: Sequence[str], **rest: Any
    ) -> Self:
        """Build a prediction from a model's output row.

        Args:
            probabilities: (n_emotions,) in the order of `labels`.
            labels: The model's labels.
            **rest: The other attributes.

        Raises:
            ValueError: There are not as many probabilities as labels.
        """
        if len(probabilities) != len(labels):
            raise ValueError(f"{len(probabilities)} probabilities for {len(labels)} labels.")
        return cls(tuple(labels), tuple(float(p) for p in probabilities), **rest)

    @property
    def emotion(self) -> str:
        """The likeliest emotion."""
        return self.ranked()[0][0]

    @property
    def confidence(self) -> float:
        """The probability of the likeliest emotion."""
        return self.ranked()[0][1]

    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Pairs of label and probability, the likeliest first."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, the answer of the API and the command line."""
        return {
            "emotion": self.emotion,
            "confidence": self.confidence,
            "certain": self.certain,
            "probabilities": dict(zip(self.labels, self.probabilities, strict=True)),
            "duration_s": self.duration_s,
            "speech_start_s": self.speech_start_s,
            "speech_end_s": self.speech_end_s,
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
            "timings_ms": dict(self.timings_ms),
            "model": self.model,
        }


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a recording and what the model heard in it.

    Attributes:
        start_s: Where it begins in the recording.
        end_s: Where it ends.
        probabilities: One a label, in the model's order.
    """

    start_s: float
    end_s: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """A prediction with what it was made from, for drawing and explaining.

    Attributes:
        waveform: (n_samples,) float32, mono, as recorded.
        sample_rate_hz: Its rate.
        features: (n_frames, n_features) of the part that was judged.
        windows: The stretches that were judged, whose mean is the answer; one for a
            recording that is no longer than a window.
        prediction: What the model heard.
    """

    waveform: Waveform
    sample_rate_hz: int
    features: Features
    windows: tuple[Window, ...]
    prediction: Prediction

    def timeline(self) -> dict[str, Any]:
        """Plain JSON types, a list of moments an emotion; the answer of the API."""
        labels = self.prediction.labels
        rows = [window.probabilities for window in self.windows]
        return {
            "start_s": [window.start_s for window in self.windows],
            "end_s": [window.end_s for window in self.windows],
            "probabilities": {
                label: list(column)
                for label, column in zip(labels, zip(*rows, strict=True), strict=True)
            },
        }


Watcher = Callable[[Prediction | Exception], None]
"""Learns what became of each recording."""


class Judge(Protocol):
    """Whoever answers: a `Predictor`, or what passes from one to another."""

    def predict(self, source: AudioSource) -> Prediction:
        """See `Predictor.predict`."""


class Predictor:
    """Judges recordings with one model: loaded once, warmed, safe from several threads.

    Attributes:
        model: The model that answers.
        watch: Is told of each answer, and of each error in its place, once that is set.
    """

    def __init__(self, model: EmotionModel) -> None:
        """Take a model and warm the whole path, so that the first visitor need not wait."""
        self.model = model
        self.watch: Watcher | None = None
        self._warm_up()

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Open a model folder.

        Args:
            folder: A model folder, such as `model`.

        Raises:
            ModelError: The folder does not match its manifest.
        """
        return cls(load_model(folder))

    @property
    def manifest(self) -> Manifest:
        """What the model says of itself."""
        return self.model.manifest

    @property
    def config(self) -> PipelineConfig:
        """Settings of the path from file to features."""
        return self.manifest.pipeline

    @property
    def labels(self) -> tuple[str, ...]:
        """Emotions in the order of the probabilities."""
        return self.model.labels

    def predict(self, source: AudioSource) -> Prediction:
        """Say what is heard in a recording.

        Args:
            source: Path of a recording, or a pair of sample rate in Hz and samples.

        Raises:
            AudioError: The recording cannot be read or breaks a limit.
            NoSpeechError: Nobody speaks in it.
        """
        return self.analyse(source).prediction

    def analyse(self, source: AudioSource, *, denoise: bool = False) -> Analysis:
        """Like `predict`, and keep the waveform for drawing.

        Args:
            source: As in `predict`.
            denoise: Whether steady noise is taken off the speech first, even where the
                model learnt without that.
        """
        watch = self.watch or _look_away
        try:
            analysis = self._analyse(source, denoise=denoise)
        except Exception as error:
            watch(error)
            raise
        watch(analysis.prediction)
        return analysis

    def _analyse(self, source: AudioSource, *, denoise: bool) -> Analysis:
        heard = self.hear(source, denoise=denoise)
        with heard.stopwatch.stage("model"):
            batch, n_frames = pad_features(heard.windows)
            answers = self.model(batch, n_frames)  # (n_windows, n_emotions)
        return self.conclude(heard, answers)

    def hear(self, source: AudioSource, *, denoise: bool = False) -> "Heard":
        """All of `analyse` before the model, so that a model can answer for many clips at once.

        Args:
            source: As in `predict`.
            denoise: As in `analyse`.

        Raises:
            AudioError: As in `predict`.
            NoSpeechError: As in `predict`.
        """
        config, stopwatch = self.path(denoise=denoise), _Stopwatch()
        with stopwatch.stage("load"):
            waveform = load_audio(source, config.audio)  # (n_samples,)
        with stopwatch.stage("preprocess"):
            speech = preprocess(waveform, config)  # (n_speech_samples,)
            warnings = assess_quality(waveform, speech, config)
        with stopwatch.stage("features"):
            features = extract_features(speech.samples, config)  # (n_frames, n_features)
        with stopwatch.stage("speech"):
            check_speech(speech.samples, features, config)
        windows = tuple(cut_windows(features, config))
        return Heard(waveform, speech, warnings, features, windows, stopwatch)

    def conclude(self, heard: "Heard", answers: Probabilities) -> Analysis:
        """All of `analyse` after the model.

        Args:
            heard: What `hear` gave.
            answers: (n_windows, n_emotions), what the model said to its windows.
        """
        speech, config = heard.speech, self.config
        probabilities, certainty = answers.mean(axis=0), self.manifest.certainty
        prediction = Prediction.from_probabilities(
            probabilities,
            self.labels,
            duration_s=len(heard.waveform) / config.audio.sample_rate_hz,
            speech_start_s=speech.start_s,
            speech_end_s=speech.end_s,
            warnings=heard.warnings,
            timings_ms=heard.stopwatch.timings_ms(),
            model=f"{self.manifest.name} {self.manifest.version}",
            certain=certainty is None or bool(probabilities.max() >= certainty.confidence),
        )
        windows = _windows(answers, speech.start_s, speech.end_s, config)
        rate_hz = config.audio.sample_rate_hz
        return Analysis(heard.waveform, rate_hz, heard.features, windows, prediction)

    def path(self, *, denoise: bool = False) -> PipelineConfig:
        """Settings of the path from file to features, with noise reduction where asked for."""
        if not denoise:
            return self.config
        return replace(
            self.config, preprocess=replace(self.config.preprocess, noise_reduction=True)
        )

    def _warm_up(self) -> None:
        """Compile librosa's kernels and the model's graph on a made-up second."""
        rate_hz = self.config.audio.sample_rate_hz
        tone = np.sin(2 * np.pi * 220 * np.arange(rate_hz) / rate_hz).astype(np.float32)
        with suppress(NoSpeechError):  # a tone is none; the stages before are warm then
            self.predict((rate_hz, tone))
        n_frames = rate_hz // self.config.features.hop_length
        self.model(np.zeros((1, n_frames, len(self.manifest.columns)), np.float32))


def _look_away(_outcome: Prediction | Exception) -> None:
    """Watch nothing."""


def _windows(
    answers: Probabilities, start_s: float, end_s: float, config: PipelineConfig
) -> tuple[Window, ...]:
    """Where the windows of `cut_windows` lie in the recording."""
    length_s, hop_s = config.windows.window_s, config.windows.hop_s
    margin_s = config.features.margin_s  # silence that the features hold around the speech
    last_s = max(end_s + margin_s - length_s, start_s - margin_s)
    starts_s = [min(start_s - margin_s + i * hop_s, last_s) for i in range(len(answers))]
    return tuple(
        Window(
            round(max(first_s, start_s), 3),
            round(min(first_s + length_s, end_s), 3),
            tuple(map(float, row)),
        )
        for first_s, row in zip(starts_s, answers, strict=True)
    )


class _Stopwatch:
    """Milliseconds of each stage, in the order they ran."""

    def __init__(self) -> None:
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._stages[name] = round((time.perf_counter() - start) * 1_000, 3)

    def timings_ms(self) -> dict[str, float]:
        return self._stages | {"total": round(sum(self._stages.values()), 3)}


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording on its way, from the file to just before the model.

    Attributes:
        waveform: (n_samples,) float32, mono, as recorded.
        speech: The part of it that is judged.
        warnings: What will make the answer less sure.
        features: (n_frames, n_features) of that part.
        windows: The stretches of the features that the model is to judge.
        stopwatch: Holds the milliseconds of each stage so far.
    """

    waveform: Waveform
    speech: Speech
    warnings: tuple[QualityWarning, ...]
    features: Features
    windows: tuple[Features, ...]
    stopwatch: _Stopwatch
