"""Is a recording good enough to be judged? Plain warnings, each with a remedy."""

from dataclasses import dataclass
from typing import Literal

import librosa
import numpy as np

from ser_core.config import PipelineConfig
from ser_core.preprocess import Speech, Waveform, dbfs

WarningCode = Literal["too_quiet", "clipped", "noisy", "short"]

FRAME_S = 0.128
"""Frame over which a level is measured, the same for every model."""
HOP_S = 0.032
"""Step between such frames."""
QUIET_DBFS = -50.0
"""Level of the loudest frame below which a recording counts as too quiet."""
CLIPPED_SHARE = 0.003
"""Share of samples at full scale that counts as clipping."""
FULL_SCALE = 0.98
"""Magnitude from which a sample counts as being at full scale."""
NOISY_SNR_DB = 12.0
"""Distance between loud and faint frames below which a recording counts as noisy."""
SHORT_SPEECH_S = 0.8
"""Less speech than this says little."""


@dataclass(frozen=True, slots=True)
class QualityWarning:
    """Something about a recording that makes the answer less sure.

    Attributes:
        code: Stable name for programs.
        message: A sentence that says what was found and what to do.
    """

    code: WarningCode
    message: str


def assess_quality(
    waveform: Waveform, speech: Speech, config: PipelineConfig
) -> tuple[QualityWarning, ...]:
    """Look for what spoils an answer.

    Args:
        waveform: (n_samples,) float32 as recorded, full scale at ±1.
        speech: What `preprocess` made of it.
        config: The settings that it was made with; of the features' frames nothing is used,
            so that all models warn alike.

    Returns:
        The warnings, the weightiest first; empty for a good recording.
    """
    rate_hz = config.audio.sample_rate_hz
    rms = librosa.feature.rms(
        y=waveform, frame_length=round(FRAME_S * rate_hz), hop_length=round(HOP_S * rate_hz)
    )[0]  # (n_frames,)
    warnings: list[QualityWarning] = []
    if (loudest_dbfs := dbfs(rms.max())) < QUIET_DBFS:
        warnings.append(
            QualityWarning(
                "too_quiet",
                f"The recording is very quiet ({loudest_dbfs:.0f} dBFS at its loudest). "
                "Come closer to the microphone or turn its level up.",
            )
        )
    if (share := _clipped_share(waveform)) > CLIPPED_SHARE:
        warnings.append(
            QualityWarning(
                "clipped",
                f"The recording is distorted: {share:.1%} of it is cut off at the top of the "
                "range. Turn the microphone down or step back.",
            )
        )
    if (snr_db := _snr_db(rms)) < NOISY_SNR_DB:
        warnings.append(
            QualityWarning(
                "noisy",
                f"The background is loud (speech stands out by only {snr_db:.0f} dB). "
                "Record in a quieter place.",
            )
        )
    if (speech_s := speech.end_s - speech.start_s) < SHORT_SPEECH_S:
        warnings.append(
            QualityWarning(
                "short",
                f"Only {speech_s:.1f} s of speech were found. Say a whole sentence, 2 to 5 s long.",
            )
        )
    return tuple(warnings)


def _clipped_share(waveform: Waveform) -> float:
    """Share of samples at full scale; resampling leaves a clipped top a little uneven."""
    return float(np.mean(np.abs(waveform) >= FULL_SCALE))


def _snr_db(rms: np.ndarray) -> float:
    """Loud frames against faint ones: the 95th over the 5th percentile of the frame level."""
    faint, loud = np.percentile(rms, [5.0, 95.0])
    return dbfs(loud) - dbfs(faint) if faint > 0.0 else float("inf")
