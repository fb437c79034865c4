"""The papers' copies of a clip: with noise, at another pitch, at another speed."""

import zlib
from dataclasses import dataclass
from typing import Literal

import librosa
import numpy as np

from ser_core.preprocess import Waveform


@dataclass(frozen=True, slots=True)
class CopySettings:
    """One kind of copy; the paper names the kinds, the sizes are those of common notebooks.

    Attributes:
        kind: What is changed.
        noise_share: Most noise, as a share of the clip's peak.
        semitones: How far the pitch goes up.
        rate: Factor of the tempo, the pitch staying.
    """

    kind: Literal["noise", "pitch", "time"]
    noise_share: float = 0.035
    semitones: float = 0.7
    rate: float = 0.8


@dataclass(frozen=True, slots=True)
class Copy:
    """Makes one kind of copy; see `ser_core.training.store.Change`.

    Attributes:
        settings: What is changed, and by how much.
    """

    settings: CopySettings

    def apply(self, samples: Waveform, name: str, *, sample_rate_hz: int) -> Waveform:
        """Change a clip; the same name gives the same change.

        Source: librosa.effects.
        """
        settings = self.settings
        match settings.kind:
            case "noise":
                random = np.random.default_rng(zlib.crc32(name.encode()))
                size = settings.noise_share * random.uniform() * np.abs(samples).max()
                changed = samples + size * random.normal(size=len(samples))
            case "pitch":
                changed = librosa.effects.pitch_shift(
                    samples, sr=sample_rate_hz, n_steps=settings.semitones
                )
            case "time":
                changed = librosa.effects.time_stretch(samples, rate=settings.rate)
        return np.asarray(changed, dtype=np.float32)


COPIES = tuple(Copy(CopySettings(kind)) for kind in ("noise", "pitch", "time"))
"""The three copies that one paper made of each clip."""
