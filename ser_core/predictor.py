"""A recording after each stage of the path, to be prepared and seen."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from ser_core.audio.load import AudioSource, load_audio
from ser_core.config import PipelineConfig
from ser_core.errors import NoSpeechError
from ser_core.features import Features, FeatureWindow, cut_windows, extract_features
from ser_core.model.emotion_model import EmotionModel, Probabilities, in_batches, load_model
from ser_core.model.manifest import Manifest
from ser_core.prediction import Analysis, Prediction, Window
from ser_core.preprocess import Speech, Waveform, normalise_level, preprocess, reduce_noise
from ser_core.quality import QualityWarning, assess_quality
from ser_core.speech_detector import check_speech

OnResult = Callable[[Prediction | Exception], None]
"""Learns what became of each recording."""
AT_ONCE = 16
"""Windows that go through the model at once, so that ten minutes take no more memory than one."""


class PredictorLike(Protocol):
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
        self.on_result: OnResult | None = None
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
        """Say what is prepared in a recording.

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
        watch = self.on_result or _look_away
        try:
            analysis = self._analyse(source, denoise=denoise)
        except Exception as error:
            watch(error)
            raise
        watch(analysis.prediction)
        return analysis

    def _analyse(self, source: AudioSource, *, denoise: bool) -> Analysis:
        prepared = self.prepare(source, denoise=denoise)
        with prepared.stopwatch.stage("model"):
            answers = self.infer([window.features for window in prepared.windows])
        return self.postprocess(prepared, answers)

    def infer(self, windows: Sequence[Features], *, at_once: int = AT_ONCE) -> Probabilities:
        """Let the model answer for windows, those of like length together.

        Args:
            windows: (n_frames, n_features) each.
            at_once: How many go through the model at once, which bounds the memory.

        Returns:
            (n_windows, n_emotions) in the order given.
        """
        return in_batches(self.model, windows, n_labels=len(self.labels), at_once=at_once)

    def prepare(self, source: AudioSource, *, denoise: bool = False) -> "PreparedClip":
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
        return PreparedClip(waveform, speech, warnings, features, windows, stopwatch)

    def postprocess(self, prepared: "PreparedClip", answers: Probabilities) -> Analysis:
        """All of `analyse` after the model.

        Args:
            prepared: What `prepare` gave.
            answers: (n_windows, n_emotions), what the model said to its windows.
        """
        speech, manifest = prepared.speech, self.manifest
        rate_hz = self.config.audio.sample_rate_hz
        prediction = Prediction.from_probabilities(
            answers.mean(axis=0),
            self.labels,
            duration_s=len(prepared.waveform) / rate_hz,
            speech_start_s=speech.start_s,
            speech_end_s=speech.end_s,
            warnings=prepared.warnings,
            timings_ms=prepared.stopwatch.timings_ms(),
            model=f"{manifest.name} {manifest.version}",
            weights=manifest.weights_sha256,
            certain_from=manifest.certainty.confidence if manifest.certainty else 0.0,
        )
        windows = tuple(
            Window(
                round(max(speech.start_s + window.start_s, speech.start_s), 3),
                round(min(speech.start_s + window.end_s, speech.end_s), 3),
                tuple(map(float, row)),
            )
            for window, row in zip(prepared.windows, answers, strict=True)
        )
        return Analysis(prepared.waveform, rate_hz, prepared.features, windows, prediction)

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
class PreparedClip:
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
    windows: tuple[FeatureWindow, ...]
    stopwatch: _Stopwatch


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage left of a recording.

    Attributes:
        name: `loaded`, `levelled`, `trimmed` or `denoised`.
        waveform: (n_samples,) float32.
    """

    name: str
    waveform: Waveform


@dataclass(frozen=True, slots=True)
class PipelineTrace:
    """A recording on its way to the network.

    Attributes:
        stages: One after another; `denoised` only where noise is reduced.
        sample_rate_hz: Rate of every stage.
        features: (n_frames, n_features) of the last one, what the network sees.
        hop_s: Seconds from frame to frame.
    """

    stages: tuple[Stage, ...]
    sample_rate_hz: int
    features: Features
    hop_s: float


def trace_pipeline(source: AudioSource, config: PipelineConfig) -> PipelineTrace:
    """Take a recording from stage to stage, by the very functions that serving calls.

    Args:
        source: Path of a recording, or a pair of sample rate in Hz and samples.
        config: Settings of the path.

    Raises:
        AudioError: The recording cannot be read or breaks a limit.
        NoSpeechError: Nobody speaks in it.
    """
    settings, rate_hz = config.preprocess, config.audio.sample_rate_hz
    loaded = load_audio(source, config.audio)
    plain = replace(config, preprocess=replace(settings, noise_reduction=False))
    trimmed = preprocess(loaded, plain).samples
    stages = [
        Stage("loaded", loaded),
        Stage("levelled", _level(loaded, config)),
        Stage("trimmed", trimmed),
    ]
    if settings.noise_reduction:
        stages.append(Stage("denoised", reduce_noise(trimmed, sample_rate_hz=rate_hz)))
    features = extract_features(stages[-1].waveform, config)
    return PipelineTrace(tuple(stages), rate_hz, features, config.features.hop_length / rate_hz)


def _level(waveform: Waveform, config: PipelineConfig) -> Waveform:
    """What `preprocess` makes of a recording before the trim."""
    if config.preprocess.remove_dc:
        waveform = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    return normalise_level(waveform, config.preprocess, sample_rate_hz=config.audio.sample_rate_hz)
