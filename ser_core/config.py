"""Every setting of the path from file to features, frozen, and to and from JSON.

Units are in the names. A model's manifest carries one `PipelineConfig`, so that
serving does what training did.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self, TypeVar

from ser_core.errors import ModelError
from ser_core.whisper import spec as whisper

Settings = TypeVar("Settings")
Level = Literal["peak", "pydub", "none"]
FeatureGroup = Literal["rms", "zcr", "mfcc", "log_mel", "whisper_log_mel"]

FEATURE_GROUPS: tuple[FeatureGroup, ...] = ("rms", "zcr", "mfcc", "log_mel")
"""Groups that share frames and go together in any choice and order."""
WHISPER_LOG_MEL: FeatureGroup = "whisper_log_mel"
"""What Whisper's encoder hears: a group that stands alone, on frames of its own."""


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """What `load_audio` accepts and returns.

    Attributes:
        sample_rate_hz: Rate of the waveform that comes out.
        min_duration_s: Shorter recordings are refused.
        max_duration_s: Longer recordings are refused, while decoding.
        max_bytes: Larger files are refused before they are opened.
        min_sample_rate_hz: Lowest rate accepted.
        max_sample_rate_hz: Highest rate accepted.
        max_channels: Most channels accepted.
        ffmpeg_timeout_s: ffmpeg is stopped after this long.
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
    """From a waveform at one rate to the speech in it, in the papers' order.

    Attributes:
        remove_dc: Whether a constant offset of the sound card is taken off first.
        level: `peak` scales the highest sample to `-headroom_db` dBFS in NumPy;
            `pydub` does it with pydub.effects.normalize, as the papers did;
            `none` leaves the level alone.
        headroom_db: Distance of the peak from full scale.
        trim: Whether leading and trailing silence is cut off.
        trim_top_db: Frames this far below the loudest count as silence.
        trim_frame_length: Frame of the trim in samples.
        trim_hop_length: Hop of the trim in samples.
        noise_reduction: Whether noisereduce runs, after the trim.
        silence_dbfs: Recordings whose peak stays below this hold no speech.
        min_speech_s: Less than this after the trim is no speech.
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
        if self.level not in ("peak", "pydub", "none"):
            raise ValueError(f"level is {self.level!r}; one of peak, pydub, none is needed.")


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """Which columns describe a frame, and how frames are cut.

    Attributes:
        groups: Column groups in order, each of `FEATURE_GROUPS`, none twice; or
            `WHISPER_LOG_MEL` alone, which only `WHISPER_FEATURES` has.
        frame_length: Frame in samples (2,048 at 16 kHz are 128 ms).
        hop_length: Step between frames in samples (512 at 16 kHz are 32 ms).
        n_mfcc: How many MFCC.
        n_mels: How many bands the log-mel group has.
        fmin_hz: Where the mel bands begin; rumble lies below.
        fmax_hz: Where they end: below 8 kHz, so that no resampler's or codec's edge
            shows in the highest band.
        margin_s: Silence put before and after the speech. Whisper learned on clips
            that end in it.
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
        widths = {
            "rms": 0,
            "zcr": 0,
            "mfcc": self.n_mfcc,
            "log_mel": self.n_mels,
            WHISPER_LOG_MEL: whisper.N_MELS,
        }
        return tuple(
            name
            for group in self.groups
            for name in (
                [f"{group}_{i}" for i in range(widths[group])] if widths[group] else [group]
            )
        )


WHISPER_FEATURES = FeatureConfig(
    groups=(WHISPER_LOG_MEL,),
    frame_length=whisper.FRAME_LENGTH,
    hop_length=whisper.HOP_LENGTH,
    margin_s=0.5,
)
"""The features of every model that begins with Whisper's encoder."""


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How a recording longer than a training clip is cut for the network.

    Attributes:
        window_s: Longest stretch that the network sees at once.
        hop_s: Step between the starts of two windows.
    """

    window_s: float = 6.0
    hop_s: float = 3.0


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """The settings of the whole path; what the manifest stores as `pipeline`."""

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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is the way back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild the settings from JSON.

        Args:
            stored: What `to_dict` gave, lists standing for tuples.

        Raises:
            ModelError: A section or setting is missing or unknown, or has a value
                that this version does not know.
        """
        sections: dict[str, Any] = {}
        for section in fields(cls):
            kind: Any = section.default_factory
            values = stored.get(section.name)
            sections[section.name] = settings_from_json(kind, values, name=section.name)
        return settings_from_json(cls, sections, name="pipeline")


def settings_from_json(kind: Callable[..., Settings], values: Any, *, name: str) -> Settings:
    """Rebuild one frozen dataclass of settings from JSON.

    Args:
        kind: The dataclass.
        values: Every field of it and nothing else, lists standing for tuples.
        name: What an error calls it.

    Raises:
        ModelError: A field is missing or unknown, or has a value that is not allowed.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) != known:
        found = sorted(values) if isinstance(values, dict) else values
        raise ModelError(
            f"The manifest's {name} settings are {found}; "
            f"this version needs {sorted(known)}. Use a model of this version."
        )
    try:
        return kind(**{key: _frozen(value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ModelError(f"The manifest's {name} settings: {error}") from error


def _frozen(value: Any) -> Any:
    """Tuples for lists, all the way down."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
