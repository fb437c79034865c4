"""Warnings about faults of a recording, each with a remedy."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ser_core.config import PipelineConfig
from ser_core.preprocess import Speech, Waveform, dbfs
from ser_core.spectrum import rms

FRAME_S = 0.128
"""Frame of the level, the same for every model."""
HOP_S = 0.032
"""Step between such frames."""
QUIET_DBFS = -50.0
"""Level of the loudest frame below which a recording counts as too quiet."""
CLIPPED_SHARE = 0.003
"""Share of samples at full scale above which a recording counts as clipped."""
FULL_SCALE = 0.98
"""Magnitude from which a sample counts as at full scale; resampling smooths a clipped top."""
NOISY_SNR_DB = 12.0
"""Ratio of the 95th to the 5th percentile of the levels below which a recording counts as noisy."""
SHORT_SPEECH_S = 0.8
"""Speech below which a recording counts as short."""

Code = Literal["too_quiet", "clipped", "noisy", "short", "doubtful_speech"]
DOUBTFUL_SPEECH: Code = "doubtful_speech"
"""The warning, of `ser_core.speech_detector`, with which no answer is certain."""


@dataclass(frozen=True, slots=True)
class QualityWarning:
    """A fault of a recording that makes the prediction less reliable.

    Attributes:
        code: Stable name for programs.
        message: A sentence with the fault and its remedy.
    """

    code: Code
    message: str


def assess_quality(
    waveform: Waveform, speech: Speech, config: PipelineConfig
) -> tuple[QualityWarning, ...]:
    """Find the faults of a recording.

    Args:
        waveform: (n_samples,) float32 as recorded, full scale at ±1.
        speech: Result of `preprocess`.
        config: Settings of `preprocess`; those of the features are not used, so that all models
            give the same warnings.

    Returns:
        The warnings, the most serious first; empty for a good recording.
    """
    rate_hz = config.audio.sample_rate_hz
    length, hop = round(FRAME_S * rate_hz), round(HOP_S * rate_hz)
    levels = rms(waveform, frame_length=length, hop_length=hop)  # (n_frames,)
    loudest_dbfs = dbfs(levels.max())
    clipped = float(np.mean(np.abs(waveform) >= FULL_SCALE))
    faint, loud = np.percentile(levels, [5.0, 95.0])
    snr_db = dbfs(loud) - dbfs(faint) if faint > 0.0 else float("inf")
    speech_s = speech.end_s - speech.start_s
    found: list[tuple[bool, Any, str]] = [
        (
            loudest_dbfs < QUIET_DBFS,
            "too_quiet",
            f"The recording is very quiet ({loudest_dbfs:.0f} dBFS at its loudest). "
            "Come closer to the microphone or turn its level up.",
        ),
        (
            clipped > CLIPPED_SHARE,
            "clipped",
            f"The recording is distorted: {clipped:.1%} of it is cut off at the top of the "
            "range. Turn the microphone down or step back.",
        ),
        (
            snr_db < NOISY_SNR_DB,
            "noisy",
            f"The background is loud (speech stands out by only {snr_db:.0f} dB). "
            "Record in a quieter place.",
        ),
        (
            speech_s < SHORT_SPEECH_S,
            "short",
            f"Only {speech_s:.1f} s of speech were found. Say a whole sentence, 2 to 5 s long.",
        ),
    ]
    return tuple(QualityWarning(code, message) for is_found, code, message in found if is_found)
