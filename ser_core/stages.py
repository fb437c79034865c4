"""A recording after each stage of the path, to be heard and seen."""

from dataclasses import dataclass, replace

import numpy as np

from ser_core.audio import AudioSource, load_audio
from ser_core.config import PipelineConfig
from ser_core.features import Features, extract_features
from ser_core.preprocess import Waveform, normalise_level, preprocess, reduce_noise


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
class Walk:
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


def walk_through(source: AudioSource, config: PipelineConfig) -> Walk:
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
    return Walk(tuple(stages), rate_hz, features, config.features.hop_length / rate_hz)


def _level(waveform: Waveform, config: PipelineConfig) -> Waveform:
    """What `preprocess` makes of a recording before the trim."""
    if config.preprocess.remove_dc:
        waveform = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    return normalise_level(waveform, config.preprocess, sample_rate_hz=config.audio.sample_rate_hz)
