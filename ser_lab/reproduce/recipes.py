"""What each paper did, as far as it says so: one frozen recipe a system and variant."""

import zlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import librosa
import numpy as np

from ser_core.config import FeatureConfig, PipelineConfig, PreprocessConfig, WindowConfig
from ser_core.errors import SerError
from ser_core.labels import LABELS
from ser_core.preprocess import Waveform
from ser_lab.reproduce.networks import (
    DualRnn,
    FrameLstm,
    Front,
    LinearSvm,
    MeanFrames,
    PaddedFrames,
    Plan,
    ScalarLstm,
    TwoBranchCnn,
)


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
    """Makes one kind of copy; see `ser_lab.data.feature_store.Change`.

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


CopyPlace = Literal["none", "after", "before"]
"""Whether copies are made, and whether after or before clips are drawn for the test."""

FOUR = ("ravdess", "tess", "crema-d", "savee")
COMMON_FIVE = ("happy", "sad", "angry", "fearful", "disgust")
"""The emotions that one paper took from four corpora."""
LONGEST_S = 173_056 / 48_000
"""The paper's padded length at RAVDESS's own rate: 3.6 s, its longest trimmed clip."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a network is trained.

    Attributes:
        optimiser: Keras's name of it, with its own step.
        batch_size: Clips a step.
        epochs: Most passes over the training clips.
        patience: Passes without a better development accuracy before the end.
    """

    optimiser: str
    batch_size: int
    epochs: int
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class RandomSplit:
    """How the paper drew clips at random.

    Attributes:
        shares: Clips trained on, developed on and tested on, in proportion.
        most: Clips that are drawn at most.
        stratified: Whether each side has each emotion in proportion.
    """

    shares: tuple[int, int, int] = (70, 15, 15)
    most: int | None = None
    stratified: bool = False


@dataclass(frozen=True, slots=True)
class Reproduction:
    """One system as its paper describes it.

    Attributes:
        family: Name on the command line.
        corpora: Corpora that it learns from.
        pipeline: Settings of the path from file to frames.
        front: What becomes of the frames.
        plan: The network.
        schedule: How it is trained; None for what needs no epochs.
        variant: What sets it apart within its family; may be empty.
        labels: Emotions that it knows.
        balanced: Whether each emotion has as many clips as the rarest.
        standardise: Whether columns are scaled by their training statistics.
        random: The paper's split.
        copies: Whether copies are made, and when.
        unseen: Corpora that it is tried on though it never learned from them.
    """

    family: str
    corpora: tuple[str, ...]
    pipeline: PipelineConfig
    front: Front
    plan: Plan
    schedule: Schedule | None
    variant: str = ""
    labels: tuple[str, ...] = LABELS
    balanced: bool = False
    standardise: bool = False
    random: RandomSplit = field(default_factory=RandomSplit)
    copies: CopyPlace = "none"
    unseen: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Family and variant, part of a file name."""
        return f"{self.family}-{self.variant}" if self.variant else self.family

    @property
    def settings(self) -> dict[str, Any]:
        """All of it as JSON types."""
        settings = asdict(self)
        for part in ("front", "plan"):
            settings[part] = {"kind": type(getattr(self, part)).__name__} | settings[part]
        if self.copies != "none":
            settings["copy_settings"] = [asdict(copy.settings) for copy in COPIES]
        return settings


_WHOLE_BAND = FeatureConfig(fmin_hz=0.0, fmax_hz=8_000.0)
"""librosa's own band at 16 kHz."""
_SPOKEN = PipelineConfig(
    preprocess=PreprocessConfig(remove_dc=False, noise_reduction=True),
    features=_WHOLE_BAND,
    windows=WindowConfig(window_s=LONGEST_S, hop_s=LONGEST_S / 2),
)
"""Peak at full scale, trimmed at 30 dB, noise reduced; RMS, ZCR and 13 MFCC."""
_AS_RECORDED = PreprocessConfig(remove_dc=False, level="none", trim=False)
"""The clip as the file has it."""
_FRAMES_PER_S = _SPOKEN.audio.sample_rate_hz / _SPOKEN.features.hop_length

_LSTM = Reproduction(
    family="lstm",
    corpora=("ravdess", "tess"),
    pipeline=_SPOKEN,
    front=PaddedFrames(round(LONGEST_S * _FRAMES_PER_S)),
    plan=FrameLstm((64, 64)),
    schedule=Schedule("rmsprop", batch_size=23, epochs=100),
    random=RandomSplit((3_703, 368, 161), most=4_232),
)
_BILSTM = replace(_LSTM, family="bilstm", plan=FrameLstm((64, 64), bidirectional=True))

_MFCC_LSTM = Reproduction(
    family="mfcc-lstm",
    variant="no-copies",
    corpora=("ravdess",),
    pipeline=PipelineConfig(
        preprocess=_AS_RECORDED, features=replace(_WHOLE_BAND, groups=("mfcc",))
    ),
    front=MeanFrames(),
    plan=ScalarLstm((128, 64), dense=(128,), dropout=0.2),
    schedule=Schedule("adam", batch_size=32, epochs=200, patience=10),
    random=RandomSplit((70, 10, 20)),
)
_SHORT = Schedule("adam", batch_size=32, epochs=50, patience=5)
_MFCC_LSTM_LARGE = ScalarLstm((256, 64), dense=(128,), dropout=0.2)

_CNN = Reproduction(
    family="cnn",
    corpora=FOUR,
    labels=COMMON_FIVE,
    balanced=True,
    pipeline=PipelineConfig(
        preprocess=_AS_RECORDED,
        features=replace(_WHOLE_BAND, groups=("log_mel", "mfcc"), n_mels=128, n_mfcc=20),
    ),
    front=MeanFrames(),
    standardise=True,
    plan=TwoBranchCnn(),
    schedule=Schedule("adam", batch_size=32, epochs=50),
    random=RandomSplit((70, 15, 15)),
    unseen=("jl-corpus",),
)

_HYBRID = Reproduction(
    family="hybrid-lstm",
    variant="plain",
    corpora=FOUR,
    pipeline=_CNN.pipeline,
    front=MeanFrames(only="mfcc"),
    plan=ScalarLstm((128,), dense=(64,), dropout=0.2),
    schedule=Schedule("adam", batch_size=64, epochs=100),
    random=RandomSplit((70, 10, 20), stratified=True),
)

_ALL = (
    _LSTM,
    _BILSTM,
    _MFCC_LSTM,
    replace(_MFCC_LSTM, variant="copies-after", copies="after", schedule=_SHORT),
    replace(_MFCC_LSTM, variant="copies-before", copies="before", schedule=_SHORT),
    replace(_MFCC_LSTM, variant="copies-before-256", copies="before", plan=_MFCC_LSTM_LARGE),
    _CNN,
    replace(_CNN, family="dual-rnn", plan=DualRnn()),
    replace(_CNN, family="svm", plan=LinearSvm(), schedule=None),
    _HYBRID,
    replace(
        _HYBRID,
        variant="regularised",
        plan=ScalarLstm((128,), dense=(64,), dropout=0.2, l2=1e-3),
        schedule=Schedule("adam", batch_size=64, epochs=100, patience=10),
    ),
)

REPRODUCTIONS: dict[str, tuple[Reproduction, ...]] = {
    family: tuple(recipe for recipe in _ALL if recipe.family == family)
    for family in dict.fromkeys(recipe.family for recipe in _ALL)
}
"""The variants of each system by its name."""


def find_reproductions(family: str, variant: str | None = None) -> tuple[Reproduction, ...]:
    """Look a system up, all its variants or one.

    Raises:
        SerError: There is none of that name.
    """
    if family not in REPRODUCTIONS:
        raise SerError(f"{family!r} is not a reproduction; known: {', '.join(REPRODUCTIONS)}.")
    variants = {recipe.variant: recipe for recipe in REPRODUCTIONS[family]}
    if variant is None:
        return tuple(variants.values())
    if variant not in variants:
        known = ", ".join(filter(None, variants)) or "none"
        raise SerError(f"{variant!r} is not a variant of {family}; known: {known}.")
    return (variants[variant],)
