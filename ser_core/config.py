"""Settings of the pipeline from file to features, and their JSON form.

Units are in the names. A model's manifest contains a `PipelineConfig`, so that serving does
what training did.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeVar, get_args

from ser_core.errors import ModelError, SerError
from ser_core.whisper import spec as whisper

Settings = TypeVar("Settings")
Level = Literal["speech", "peak", "pydub", "none"]
FeatureGroup = Literal["rms", "zcr", "mfcc", "log_mel", "whisper_log_mel"]

FEATURE_GROUPS: tuple[FeatureGroup, ...] = ("rms", "zcr", "mfcc", "log_mel")
"""Groups that share frames and go together in any choice and order."""
WHISPER_LOG_MEL: FeatureGroup = "whisper_log_mel"
"""Input of Whisper's encoder: a group that stands alone, on frames of its own."""

MAX_DURATION_VARIABLE = "MOODMIRROR_MAX_DURATION_S"
"""Environment variable with the longest recording accepted, whatever the settings of a model."""

MAX_TIMEOUT_S = 3_600.0
"""Longest time limit of decoding that `with_limits` sets."""


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """Limits and sample rate of `load_audio`.

    Attributes:
        sample_rate_hz: Rate of the returned waveform; 0 keeps the recording's.
        min_duration_s: Shortest recording accepted.
        max_duration_s: Longest recording accepted; checked while decoding.
        max_bytes: Largest file accepted; checked before it is opened.
        min_sample_rate_hz: Lowest rate accepted.
        max_sample_rate_hz: Highest rate accepted.
        max_channels: Most channels accepted.
        ffmpeg_timeout_s: Time limit of decoding, in any format.
    """

    sample_rate_hz: int = 16_000
    min_duration_s: float = 0.5
    max_duration_s: float = 600.0
    max_bytes: int = 50_000_000
    min_sample_rate_hz: int = 8_000
    max_sample_rate_hz: int = 192_000
    max_channels: int = 64
    ffmpeg_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class PreprocessConfig:
    """Steps from a waveform to the speech in it, in the papers' order.

    Attributes:
        remove_dc: Whether to subtract a constant offset of the sound card first.
        level: `speech` scales to a speech level that short noises do not change;
            `peak` scales the highest sample to `-headroom_db` dBFS in NumPy;
            `pydub` does it with pydub.effects.normalize, as the papers did;
            `none` leaves the level unchanged.
        headroom_db: Distance of the peak from full scale.
        trim: Whether to cut off leading and trailing silence.
        trim_top_db: Frames this far below the loudest count as silence.
        trim_frame_length: Frame of the trim in samples.
        trim_hop_length: Hop of the trim in samples.
        noise_reduction: Whether to run noisereduce, after the trim.
        silence_dbfs: Recordings with a peak below this contain no speech.
        min_speech_s: Least speech after the trim.
    """

    remove_dc: bool = True
    level: Level = "peak"
    headroom_db: float = 0.0
    trim: bool = True
    trim_top_db: float = 30.0
    trim_frame_length: int = 2_048
    trim_hop_length: int = 512
    noise_reduction: bool = False
    silence_dbfs: float = -60.0
    min_speech_s: float = 0.2

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            known = ", ".join(get_args(Level))
            raise ValueError(f"level is {self.level!r}; one of {known} is needed.")


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Columns of a frame, and how frames are cut.

    Attributes:
        groups: Column groups in order, each of `FEATURE_GROUPS`, none twice; or
            `WHISPER_LOG_MEL` alone, as in `WHISPER_FEATURES`.
        frame_length: Frame in samples (2,048 at 16 kHz are 128 ms).
        hop_length: Step between frames in samples (512 at 16 kHz are 32 ms).
        n_mfcc: Number of MFCC.
        n_mels: Number of bands of the log-mel group.
        fmin_hz: Lower edge of the mel bands; rumble lies below.
        fmax_hz: Upper edge: below 8 kHz, so that the band limit of a resampler or codec does
            not show in the highest band.
        margin_s: Silence added before and after the speech. Whisper was trained on clips that
            end in silence.
    """

    groups: tuple[FeatureGroup, ...] = ("rms", "zcr", "mfcc")
    frame_length: int = 2_048
    hop_length: int = 512
    n_mfcc: int = 13
    n_mels: int = 64
    fmin_hz: float = 60.0
    fmax_hz: float = 7_000.0
    margin_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.groups or len(set(self.groups)) != len(self.groups):
            raise ValueError(f"groups is {self.groups}; each group once, at least one.")
        if WHISPER_LOG_MEL in self.groups:
            grid = (self.frame_length, self.hop_length)
            if len(self.groups) > 1 or grid != (whisper.FRAME_LENGTH, whisper.HOP_LENGTH):
                raise ValueError(
                    f"groups is {self.groups} on frames of {grid[0]} every {grid[1]} samples; "
                    f"{WHISPER_LOG_MEL} stands alone, on frames of {whisper.FRAME_LENGTH} every "
                    f"{whisper.HOP_LENGTH}."
                )
            return
        for group in self.groups:
            if group not in FEATURE_GROUPS:
                known = (*FEATURE_GROUPS, WHISPER_LOG_MEL)
                raise ValueError(f"{group!r} is no feature group; known: {known}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in order, such as `("rms", "zcr", "mfcc_0", …)`."""
        widths = {"mfcc": self.n_mfcc, "log_mel": self.n_mels, WHISPER_LOG_MEL: whisper.N_MELS}
        names: list[str] = []
        for group in self.groups:
            names += [f"{group}_{i}" for i in range(widths.get(group, 0))] or [group]
        return tuple(names)


WHISPER_FEATURES = FeatureConfig(
    groups=(WHISPER_LOG_MEL,),
    frame_length=whisper.FRAME_LENGTH,
    hop_length=whisper.HOP_LENGTH,
    margin_s=0.5,
)
"""Features of the models with Whisper's encoder."""


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Windows over a recording that is longer than a training clip.

    Attributes:
        window_s: Length of a window.
        hop_s: Step between the starts of two windows.
    """

    window_s: float = 6.0
    hop_s: float = 3.0


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Settings of the whole pipeline; the field `pipeline` of a manifest."""

    audio: AudioConfig = field(default_factory=AudioConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)

    def __post_init__(self) -> None:
        rate_hz = self.audio.sample_rate_hz
        if WHISPER_LOG_MEL in self.features.groups and rate_hz != whisper.SAMPLE_RATE_HZ:
            raise ValueError(
                f"sample_rate_hz is {rate_hz}; {WHISPER_LOG_MEL} needs {whisper.SAMPLE_RATE_HZ}."
            )

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Build the settings from JSON, the form of `dataclasses.asdict` with lists for tuples.

        Raises:
            ModelError: A section or setting is missing, unknown or has an unknown value.
        """
        kinds: dict[str, Any] = {f.name: f.default_factory for f in fields(cls)}
        sections = {
            name: settings_from_json(kind, stored.get(name), name=name)
            for name, kind in kinds.items()
        }
        return settings_from_json(cls, sections, name="pipeline")


def max_duration_s(default: float) -> float:
    """Return the longest recording: `MOODMIRROR_MAX_DURATION_S`, or a default where it is not set.

    Raises:
        SerError: The variable is no positive number.
    """
    text = os.environ.get(MAX_DURATION_VARIABLE, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not seconds > 0.0:
        raise SerError(
            f"{MAX_DURATION_VARIABLE} is {text!r}; expected seconds, such as 3600, or inf for no "
            "limit."
        )
    return seconds


def with_limits(config: PipelineConfig) -> PipelineConfig:
    """Return settings with the longest recording of this machine, see `max_duration_s`.

    The time limit of decoding is in proportion, at most `MAX_TIMEOUT_S`.
    """
    audio = config.audio
    longest_s = max_duration_s(audio.max_duration_s)
    timeout_s = audio.ffmpeg_timeout_s * max(1.0, longest_s / audio.max_duration_s)
    timeout_s = min(timeout_s, MAX_TIMEOUT_S)
    audio = replace(audio, max_duration_s=longest_s, ffmpeg_timeout_s=timeout_s)
    return replace(config, audio=audio)


def settings_from_json(kind: Callable[..., Settings], values: Any, *, name: str) -> Settings:
    """Build a frozen dataclass of settings from JSON.

    Args:
        kind: The dataclass.
        values: Exactly its fields, with lists for tuples.
        name: Its name in error messages.

    Raises:
        ModelError: A field is missing or unknown, or has a value that is not allowed.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) != known:
        found = sorted(values) if isinstance(values, dict) else values
        raise ModelError(
            f"The manifest's {name} settings are {found!r:.200}; "
            f"this version needs {sorted(known)}. Use a model of this version."
        )
    try:
        return kind(**{key: _frozen(value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ModelError(f"The manifest's {name} settings: {error}") from error


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
