"""From a recording to its emotions: load, preprocess, extract features, run the model."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from ser_core.audio import sandbox
from ser_core.audio.load import AudioSource, load_audio
from ser_core.config import PipelineConfig, with_limits
from ser_core.errors import ModelError, NoSpeechError, SerError
from ser_core.features import Features, FeatureWindow, cut_windows, extract_features
from ser_core.model.emotion_model import EmotionModel, Outputs, in_batches, load_model
from ser_core.model.manifest import Manifest
from ser_core.paths import provide_caches
from ser_core.prediction import Analysis, Prediction, Window, mean_intensity
from ser_core.preprocess import Speech, Waveform, preprocess, preprocess_stages
from ser_core.quality import QualityWarning, assess_quality
from ser_core.speech_detector import check_speech
from ser_core.whisper.weights import first_line

OnResult = Callable[[Prediction | Exception], None]
"""Function of the outcome of a recording."""
AT_ONCE = 16
"""Windows in a batch, so that ten minutes take no more memory than one."""


class PredictorLike(Protocol):
    """A `Predictor`, or several as one."""

    def predict(self, source: AudioSource) -> Prediction:
        """See `Predictor.predict`."""


class Predictor:
    """Emotions of recordings by one model: loaded once, warmed, safe from several threads.

    Attributes:
        model: The model.
        on_result: Called with each prediction, or with the exception in its place; None for
            no call.
    """

    def __init__(self, model: EmotionModel) -> None:
        """Load a model and warm the whole pipeline, so that the first request is fast.

        Raises:
            ModelError: The model cannot be loaded, or its settings do not work.
        """
        self.model = model
        self.on_result: OnResult | None = None
        try:
            self._warm_up()
        except SerError:
            raise
        # Settings of a model from elsewhere can contradict each other in ways that only show here.
        except Exception as error:
            raise ModelError(
                f"{self.manifest.name} cannot analyse a second of sound: {first_line(error)}. "
                "Export the model again."
            ) from error

    @classmethod
    def from_folder(cls, folder: str | Path, *, trust: bool = False) -> Self:
        """Open a model folder, see `load_model`."""
        return cls(load_model(folder, trust=trust))

    @property
    def manifest(self) -> Manifest:
        """Manifest of the model."""
        return self.model.manifest

    @property
    def config(self) -> PipelineConfig:
        """Settings of the pipeline from file to features."""
        return with_limits(self.manifest.pipeline)

    @property
    def labels(self) -> tuple[str, ...]:
        """Emotions in the order of the probabilities."""
        return self.model.labels

    def predict(self, source: AudioSource) -> Prediction:
        """Return the emotions of a recording.

        Args:
            source: Path of a recording, or a pair of sample rate in Hz and samples.

        Raises:
            AudioError: The recording cannot be read or breaks a limit.
            NoSpeechError: It contains no speech.
        """
        return self.analyse(source).prediction

    def analyse(self, source: AudioSource, *, denoise: bool = False) -> Analysis:
        """Return the emotions of a recording, with what they were computed from.

        Args:
            source: As in `predict`.
            denoise: Whether to reduce background noise, even where the model was trained
                without that.
        """
        *_, analysis = self.analyse_stepwise(source, denoise=denoise)
        return analysis

    def analyse_stepwise(
        self, source: AudioSource, *, denoise: bool = False, at_once: int = AT_ONCE
    ) -> Iterator[Analysis]:
        """Do what `analyse` does, and yield the analysis of the windows so far after each batch.

        Args:
            source: As in `predict`.
            denoise: As in `analyse`.
            at_once: Windows in a batch.

        Yields:
            The analysis of a growing part of the recording, at last of all of it.
        """
        try:
            clip = self.prepare(source, denoise=denoise)
            answers = np.empty((0, self.manifest.n_outputs), np.float32)
            for start in range(0, len(clip.windows), at_once):
                batch = clip.windows[start : start + at_once]
                with _timed(clip.timings_ms, "model"):
                    newest = self.infer([window.features for window in batch])
                answers = np.concatenate([answers, newest])  # (n_windows so far, n_outputs)
                analysis = self.postprocess(clip, answers)
                yield analysis
        except Exception as error:
            if self.on_result:
                self.on_result(error)
            raise
        if self.on_result:
            self.on_result(analysis.prediction)

    def prepare(self, source: AudioSource, *, denoise: bool = False) -> "PreparedClip":
        """Do all of `analyse` before the model, so that clips can share a batch."""
        config, timings_ms = self.pipeline(denoise=denoise), dict[str, float]()
        with _timed(timings_ms, "load"):
            waveform = load_audio(source, config.audio)  # (n_samples,)
        with _timed(timings_ms, "preprocess"):
            speech = preprocess(waveform, config)  # (n_speech_samples,)
            warnings = assess_quality(waveform, speech, config)
        with _timed(timings_ms, "speech"):
            warnings = (*check_speech(speech.samples, config), *warnings)
        with _timed(timings_ms, "features"):
            features = extract_features(speech.samples, config)  # (n_frames, n_features)
        windows = tuple(cut_windows(features, config))
        return PreparedClip(waveform, speech, warnings, features, windows, timings_ms)

    def infer(self, windows: Sequence[Features], *, at_once: int = AT_ONCE) -> Outputs:
        """Run the model over windows, those of similar length together.

        Args:
            windows: (n_frames, n_features) each.
            at_once: Windows in a batch, which bounds the memory.

        Returns:
            (n_windows, n_outputs) in the order given, see `EmotionModel.infer`.
        """
        n_outputs = self.manifest.n_outputs
        return in_batches(self.model.infer, windows, n_outputs=n_outputs, at_once=at_once)

    def postprocess(self, clip: "PreparedClip", answers: Outputs) -> Analysis:
        """Do all of `analyse` after the model.

        Args:
            clip: The recording.
            answers: (n_windows, n_outputs) from `infer` for its windows, or for the first ones.
        """
        speech, manifest = clip.speech, self.manifest
        n_labels = len(self.labels)
        probabilities = answers[:, :n_labels]
        intensities = [float(row[n_labels]) if manifest.has_intensity else None for row in answers]
        is_whole, end_s = len(answers) == len(clip.windows), speech.end_s
        if not is_whole:
            end_s = min(speech.start_s + clip.windows[len(answers) - 1].end_s, end_s)
        rate_hz = self.config.audio.sample_rate_hz
        total_ms = round(sum(clip.timings_ms.values()), 3)
        prediction = Prediction.from_probabilities(
            probabilities.mean(axis=0),
            self.labels,
            duration_s=len(clip.waveform) / rate_hz,
            speech_start_s=speech.start_s,
            speech_end_s=end_s,
            warnings=clip.warnings,
            timings_ms=clip.timings_ms | {"total": total_ms},
            model=f"{manifest.name} {manifest.version}",
            weights=manifest.weights_sha256,
            certain_from=manifest.certainty.confidence if manifest.certainty else 0.0,
            temperature=manifest.temperature,
            intensity=mean_intensity(intensities),
        )
        windows = tuple(
            Window(
                round(max(speech.start_s + window.start_s, speech.start_s), 3),
                round(min(speech.start_s + window.end_s, speech.end_s), 3),
                tuple(map(float, row)),
                intensity,
            )
            for window, row, intensity in zip(
                clip.windows, probabilities, intensities, strict=False
            )
        )
        return Analysis(clip.waveform, rate_hz, clip.features, windows, prediction, is_whole)

    def pipeline(self, *, denoise: bool = False) -> PipelineConfig:
        """Return the settings of the pipeline, with noise reduction if `denoise`."""
        if not denoise:
            return self.config
        return replace(
            self.config, preprocess=replace(self.config.preprocess, noise_reduction=True)
        )

    def _warm_up(self) -> None:
        """Start a decoder, and compile librosa's kernels and the graph on a synthetic second."""
        provide_caches()
        sandbox.warm_up()
        rate_hz = self.config.audio.sample_rate_hz
        tone = np.sin(2 * np.pi * 220 * np.arange(rate_hz) / rate_hz).astype(np.float32)
        with suppress(NoSpeechError):  # a tone is none; the steps before are warm then
            self.predict((rate_hz, tone))
        n_frames = rate_hz // self.config.features.hop_length
        self.model(np.zeros((1, n_frames, len(self.manifest.columns)), np.float32))


@contextmanager
def _timed(timings_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Add the duration of the body of a `with` statement to `timings_ms`."""
    start = time.perf_counter()
    yield
    duration_ms = (time.perf_counter() - start) * 1_000
    timings_ms[stage] = round(timings_ms.get(stage, 0.0) + duration_ms, 3)


@dataclass(frozen=True, slots=True)
class PreparedClip:
    """A recording prepared for the model.

    Attributes:
        waveform: (n_samples,) float32, mono, as recorded.
        speech: The part of it that contains speech.
        warnings: Faults of the recording.
        features: (n_frames, n_features) of the speech.
        windows: Windows over the features, the input of the model.
        timings_ms: Milliseconds of each stage so far.
    """

    waveform: Waveform
    speech: Speech
    warnings: tuple[QualityWarning, ...]
    features: Features
    windows: tuple[FeatureWindow, ...]
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class PipelineTrace:
    """A recording after each stage of the pipeline.

    Attributes:
        stages: (n_samples,) float32 after `loaded`, `levelled`, `trimmed` and, where noise is
            reduced, `denoised`.
        sample_rate_hz: Rate of all stages.
        features: (n_frames, n_features) of the last one, the input of the model.
        hop_s: Seconds from frame to frame.
    """

    stages: Mapping[str, Waveform]
    sample_rate_hz: int
    features: Features
    hop_s: float


def trace_pipeline(source: AudioSource, config: PipelineConfig) -> PipelineTrace:
    """Run the stages before the model, and keep the result of each.

    Args:
        source: Path of a recording, or a pair of sample rate in Hz and samples.
        config: Settings of the pipeline.

    Raises:
        AudioError: The recording cannot be read or breaks a limit.
        NoSpeechError: It contains no speech.
    """
    waveform = load_audio(source, config.audio)
    stages = {"loaded": waveform}
    for name, speech in preprocess_stages(waveform, config):
        stages[name] = waveform = speech.samples
    rate_hz = config.audio.sample_rate_hz
    hop_s = config.features.hop_length / rate_hz
    return PipelineTrace(stages, rate_hz, extract_features(waveform, config), hop_s)
