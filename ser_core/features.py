"""From speech to frames: RMS, zero-crossing rate, MFCC and log-mel, with librosa's numbers.

The order of the columns is that of `FeatureConfig.columns`, in training and in serving.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from ser_core.config import WHISPER_LOG_MEL, FeatureGroup, PipelineConfig
from ser_core.preprocess import Waveform
from ser_core.spectrum import mel_filters, power_to_db, rms, stft
from ser_core.whisper import spec as whisper

Features = npt.NDArray[np.float32]

_BLAS = ThreadpoolController().select(user_api="blas")

N_MFCC_MELS = 128
"""Mel bands under the MFCC: librosa's default, and so the papers'."""
TOP_DB = 80.0
"""Decibels below a clip's loudest band that log-mel and MFCC keep."""
WHISPER_FLOOR, WHISPER_RANGE = 1e-10, 8.0
"""Least power of a band, and range of the levels below the highest, in log10."""


def extract_features(samples: Waveform, config: PipelineConfig) -> Features:
    """Compute the features of every frame of a clip.

    Args:
        samples: (n_samples,) float32 speech from `preprocess`.
        config: Settings; `config.features` names the columns.

    Returns:
        (n_frames, n_features) float32, not standardised, where n_frames is
        1 + n_samples // hop_length with the margins, and one less for Whisper's log-mel.

    Source: librosa.feature; McFee et al. 2015.
    """
    margin = round(config.features.margin_s * config.audio.sample_rate_hz)
    samples = np.pad(samples, margin)
    # The matrices are small: threads of BLAS would gain nothing, and spin on the cores that the
    # network needs next.
    with _BLAS.limit(limits=1):
        if config.features.groups == (WHISPER_LOG_MEL,):
            return _whisper_log_mel(samples)
        frames = stft(
            samples,
            frame_length=config.features.frame_length,
            hop_length=config.features.hop_length,
        )
        power = np.asarray(np.abs(frames) ** 2, np.float32)  # (1 + frame_length // 2, n_frames)
        rows = [_group(group, samples, power, config) for group in config.features.groups]
        return np.ascontiguousarray(np.concatenate(rows).T, dtype=np.float32)


def _group(
    group: FeatureGroup, samples: Waveform, power: Features, config: PipelineConfig
) -> Features:
    """Return one column group, as (n_columns, n_frames)."""
    settings = config.features
    length, hop = settings.frame_length, settings.hop_length
    match group:
        case "rms":
            rows = rms(samples, frame_length=length, hop_length=hop)[np.newaxis]
        case "zcr":
            import librosa  # heavy, and not needed by the bundled models

            rows = librosa.feature.zero_crossing_rate(samples, frame_length=length, hop_length=hop)
        case "mfcc":
            import librosa

            rows = librosa.feature.mfcc(
                S=_log_mel(power, N_MFCC_MELS, config), n_mfcc=settings.n_mfcc
            )
        case "log_mel":
            rows = _log_mel(power, settings.n_mels, config)
    return np.asarray(rows, dtype=np.float32)


def _log_mel(power: Features, n_mels: int, config: PipelineConfig) -> Features:
    """Return mel bands in decibels, as (n_mels, n_frames)."""
    settings, rate_hz = config.features, config.audio.sample_rate_hz
    edges_hz = (settings.fmin_hz, settings.fmax_hz)
    bank = _mel_bank(rate_hz, settings.frame_length, n_mels, edges_hz)
    return power_to_db(bank @ power, top_db=TOP_DB)


@cache
def _mel_bank(
    rate_hz: int, frame_length: int, n_mels: int, edges_hz: tuple[float, float]
) -> Features:
    """Return filters of (n_mels, 1 + frame_length // 2), which are slower to make than to use."""
    low, high = edges_hz
    return mel_filters(
        rate_hz=rate_hz, frame_length=frame_length, n_mels=n_mels, fmin_hz=low, fmax_hz=high
    )


def _whisper_log_mel(samples: Waveform) -> Features:
    """Return mel bands on the scale of Whisper's training, as (n_frames, 80).

    Source: openai/whisper, `log_mel_spectrogram`.
    """
    frames = stft(
        samples,
        frame_length=whisper.FRAME_LENGTH,
        hop_length=whisper.HOP_LENGTH,
        pad_mode="reflect",
    )
    rate_hz = whisper.SAMPLE_RATE_HZ
    bank = _mel_bank(rate_hz, whisper.FRAME_LENGTH, whisper.N_MELS, (0.0, rate_hz / 2))
    level = np.log10(np.maximum(bank @ np.abs(frames[:, :-1]) ** 2, WHISPER_FLOOR))
    level = np.maximum(level, level.max() - WHISPER_RANGE)
    return np.ascontiguousarray((level.T + 4.0) / 4.0, dtype=np.float32)


def pad_features(clips: Sequence[Features]) -> tuple[Features, npt.NDArray[np.int32]]:
    """Stack clips of different lengths.

    Args:
        clips: (n_frames, n_features) each.

    Returns:
        (n_clips, max_frames, n_features) float32, zeros after each clip's end, and
        (n_clips,) int32 frame counts.
    """
    n_frames = np.array([len(clip) for clip in clips], dtype=np.int32)
    batch = np.zeros((len(clips), n_frames.max(), clips[0].shape[1]), dtype=np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    return batch, n_frames


@dataclass(frozen=True, slots=True)
class FeatureWindow:
    """A window over a clip's features.

    Attributes:
        features: (n_window_frames, n_features), a view.
        start_s: Time of its first frame from the start of the speech; negative in the margin.
        end_s: Time of the frame after its last one.
    """

    features: Features
    start_s: float
    end_s: float


def cut_windows(features: Features, config: PipelineConfig) -> list[FeatureWindow]:
    """Cut a long clip into overlapping windows; a short one is a single window.

    Args:
        features: (n_frames, n_features) from `extract_features`.
        config: Settings; length and step in `config.windows` are rounded to whole frames.

    Returns:
        Windows of equal length, in order. The last one ends with the clip and may therefore
        overlap its neighbour more.
    """
    frames_per_s = config.audio.sample_rate_hz / config.features.hop_length
    length = round(config.windows.window_s * frames_per_s)
    last = max(len(features) - length, 0)
    starts = [*range(0, last, round(config.windows.hop_s * frames_per_s)), last]
    return [
        FeatureWindow(
            window := features[start : start + length],
            start_s=start / frames_per_s - config.features.margin_s,
            end_s=(start + len(window)) / frames_per_s - config.features.margin_s,
        )
        for start in starts
    ]
