"""The papers' systems as far as they are described: one frozen recipe per system and variant."""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import librosa
import numpy as np

from ser_core.config import FeatureConfig, PipelineConfig, PreprocessConfig, WindowConfig
from ser_core.errors import SerError
from ser_core.labels import LABELS
from ser_core.preprocess import Waveform, find_ends, normalise_level
from ser_lab.data.feature_store import Change
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

CopyPlace = Literal["none", "after", "before"]
"""Whether augmented copies are made, and whether after or before the test split is sampled."""
Preprocessing = Literal["serving", "paper"]
"""The order of serving, trim, reduce noise, pad; or a paper's order, see `PrintedSteps`."""
FOUR = ("ravdess", "tess", "crema-d", "savee")
UNSEEN = ("jl-corpus", "emo-db", "nemo", "ased", "turev", "korean", "emospeech")
"""Corpora that no system was trained on; a paper tried the first."""
COMMON_FIVE = ("happy", "sad", "angry", "fearful", "disgust")
"""The emotions that one paper used from four corpora."""
LONGEST_S = 173_056 / 48_000
"""A paper's padded length at RAVDESS's own rate: 3.6 s, its longest trimmed clip."""


@dataclass(frozen=True, slots=True)
class CopySettings:
    """One kind of augmentation; the kinds are the paper's, the sizes those of common notebooks.

    Attributes:
        kind: Noise, pitch shift or time stretch.
        noise_share: Highest noise amplitude, relative to the clip's peak.
        semitones: Pitch shift.
        rate: Tempo factor; the pitch is kept.
    """

    kind: Literal["noise", "pitch", "time"]
    noise_share: float = 0.035
    semitones: float = 0.7
    rate: float = 0.8


@dataclass(frozen=True, slots=True)
class Copy:
    """One augmentation as a `ser_lab.data.feature_store.Change`."""

    settings: CopySettings

    def apply(self, samples: Waveform, name: str, *, sample_rate_hz: int) -> Waveform:
        """Return an augmented clip; the noise is seeded with the name."""
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


@dataclass(frozen=True, slots=True)
class PrintedStepsSettings:
    """Settings of `PrintedSteps`.

    Attributes:
        padded_s: Length of every clip after the padding.
        preprocess: Level and trim.
    """

    padded_s: float = LONGEST_S
    preprocess: PreprocessConfig = field(
        default_factory=lambda: PreprocessConfig(remove_dc=False, level="pydub", headroom_db=-5.0)
    )


@dataclass(frozen=True, slots=True)
class PrintedSteps:
    """A paper's preprocessing as printed, as a `ser_lab.data.feature_store.Change`.

    The peak at +5 dBFS by pydub, which limits samples to full scale; then trim, pad, reduce noise.
    """

    settings: PrintedStepsSettings = field(default_factory=PrintedStepsSettings)

    def apply(self, samples: Waveform, name: str, *, sample_rate_hz: int) -> Waveform:  # noqa: ARG002
        """Return (n_samples,) of `padded_s`, whose noise was reduced after the padding."""
        import noisereduce  # pulls in matplotlib, so only where it is used

        preprocess = self.settings.preprocess
        levelled = normalise_level(samples, preprocess, sample_rate_hz=sample_rate_hz)
        start, end = find_ends(levelled, preprocess, sample_rate_hz=sample_rate_hz)
        n_samples = round(self.settings.padded_s * sample_rate_hz)
        padded = librosa.util.fix_length(levelled[start:end], size=n_samples)
        return np.asarray(noisereduce.reduce_noise(y=padded, sr=sample_rate_hz), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Training settings of a network.

    Attributes:
        optimiser: Keras name of the optimiser, at its default learning rate.
        batch_size: Clips per step.
        epochs: Maximum number of epochs.
        patience: Epochs without a better development accuracy before early stopping.
    """

    optimiser: str
    batch_size: int
    epochs: int
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class RandomSplit:
    """Random split of a paper.

    Attributes:
        shares: Proportions of the training, development and test splits.
        most: Maximum number of clips sampled.
        stratified: Whether the emotions have the same proportions in each split.
    """

    shares: tuple[int, int, int] = (70, 15, 15)
    most: int | None = None
    stratified: bool = False


@dataclass(frozen=True, slots=True)
class Reproduction:
    """One system as its paper describes it.

    Attributes:
        family: Name on the command line.
        corpora: Corpora of the training, development and test splits.
        pipeline: Settings from file to frames.
        front: Input layers.
        plan: Hidden layers.
        schedule: Training settings; None for the SVM.
        variant: Name within its family; may be empty.
        labels: Emotions.
        balanced: Whether each emotion is reduced to the number of clips of the rarest.
        standardise: Whether columns are scaled by their training statistics.
        random: The paper's split.
        copies: Whether augmented copies are made, and when.
        unseen: Further corpora, for a test alone.
        steps: A paper's preprocessing, where it is not the pipeline's.
        subset: Value by column of the clips used, see `ser_lab.data.splits.choose_subset`.
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
    unseen: tuple[str, ...] = UNSEEN
    steps: PrintedSteps | None = None
    subset: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> tuple[Change | None, ...]:
        """Changes of a clip before its features, one a copy; None leaves it as recorded."""
        return (self.steps, *(COPIES if self.copies != "none" else ()))

    @property
    def name(self) -> str:
        """Family and variant, as used in file names."""
        return f"{self.family}-{self.variant}" if self.variant else self.family

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe as JSON types; `steps` and `subset` only where there are any."""
        settings = asdict(self)
        for added in ("steps", "subset"):
            if not settings[added]:
                del settings[added]
        for part in ("front", "plan"):
            settings[part] = {"kind": type(getattr(self, part)).__name__} | settings[part]
        if self.copies != "none":
            settings["copy_settings"] = [asdict(copy.settings) for copy in COPIES]
        return settings


_WHOLE_BAND = FeatureConfig(fmin_hz=0.0, fmax_hz=8_000.0)
"""librosa's default band at 16 kHz."""
_TRIMMED = PipelineConfig(
    preprocess=PreprocessConfig(remove_dc=False, noise_reduction=True),
    features=_WHOLE_BAND,
    windows=WindowConfig(window_s=LONGEST_S, hop_s=LONGEST_S / 2),
)
"""Peak at full scale, trimmed at 30 dB, noise reduced; RMS, ZCR and 13 MFCC."""
_AS_RECORDED = PreprocessConfig(remove_dc=False, level="none", trim=False)
"""The unchanged waveform of the file."""
_FRAMES_PER_S = _TRIMMED.audio.sample_rate_hz / _TRIMMED.features.hop_length

_LSTM = Reproduction(
    family="lstm",
    corpora=("ravdess", "tess"),
    pipeline=_TRIMMED,
    front=PaddedFrames(round(LONGEST_S * _FRAMES_PER_S)),
    plan=FrameLstm((64, 64)),
    schedule=Schedule("rmsprop", batch_size=23, epochs=100),
    random=RandomSplit((3_703, 368, 161), most=4_232),
)
_BILSTM = replace(_LSTM, family="bilstm", plan=FrameLstm((64, 64), bidirectional=True))
_PRINTED = PipelineConfig(preprocess=_AS_RECORDED, features=_WHOLE_BAND, windows=_TRIMMED.windows)
"""The pipeline under `PrintedSteps`, which take the waveform of the file."""

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
    schedule=Schedule("adam", batch_size=32, epochs=1_000),
    random=RandomSplit((70, 15, 15)),
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
_STOPPED = Schedule("adam", batch_size=64, epochs=100, patience=10)
_HYBRID_L2 = ScalarLstm((128,), dense=(64,), dropout=0.2, l2=1e-3)

_ALL = (
    _LSTM,
    _BILSTM,
    _MFCC_LSTM,
    replace(_MFCC_LSTM, variant="copies-after", copies="after", schedule=_SHORT),
    replace(_MFCC_LSTM, variant="copies-before", copies="before", schedule=_SHORT),
    replace(_MFCC_LSTM, variant="copies-before-256", copies="before", plan=_MFCC_LSTM_LARGE),
    _CNN,
    replace(
        _CNN,
        family="dual-rnn",
        plan=DualRnn(),
        schedule=Schedule("adam", batch_size=32, epochs=200),
    ),
    replace(_CNN, family="svm", plan=LinearSvm(), schedule=None),
    _HYBRID,
    replace(_HYBRID, variant="early-stopping", schedule=_STOPPED),
    replace(_HYBRID, variant="l2", plan=_HYBRID_L2),
    replace(_HYBRID, variant="regularised", plan=_HYBRID_L2, schedule=_STOPPED),
)

REPRODUCTIONS: dict[str, tuple[Reproduction, ...]] = {
    family: tuple(recipe for recipe in _ALL if recipe.family == family)
    for family in dict.fromkeys(recipe.family for recipe in _ALL)
}
"""Variants of each system by family name."""

PRINTED = {
    recipe.family: replace(
        recipe, variant="paper-preprocessing", pipeline=_PRINTED, steps=PrintedSteps()
    )
    for recipe in (_LSTM, _BILSTM)
}
"""Systems with the preprocessing that their paper prints, by family name."""
RECIPES = {
    recipe.name: recipe
    for family, variants in REPRODUCTIONS.items()
    for recipe in (*variants, *((PRINTED[family],) if family in PRINTED else ()))
}
"""All recipes by name."""


def find_reproductions(
    family: str, variant: str | None = None, *, preprocessing: str = "serving"
) -> tuple[Reproduction, ...]:
    """Return all variants of a system, or one.

    Args:
        family: Name of the system.
        variant: One of its variants; all where None.
        preprocessing: One of `Preprocessing`.

    Raises:
        SerError: The family, the variant or the preprocessing is unknown.
    """
    if preprocessing not in get_args(Preprocessing):
        known = ", ".join(get_args(Preprocessing))
        raise SerError(f"{preprocessing!r} is not a preprocessing; known: {known}.")
    if family not in REPRODUCTIONS:
        raise SerError(f"{family!r} is not a reproduction; known: {', '.join(REPRODUCTIONS)}.")
    variants = {recipe.variant: recipe for recipe in REPRODUCTIONS[family]}
    if preprocessing == "paper":
        if family not in PRINTED:
            raise SerError(
                f"{family} has one preprocessing; leave out --preprocessing, which "
                f"{' and '.join(PRINTED)} have."
            )
        variants = {"": PRINTED[family]}
    if variant is None:
        return tuple(variants.values())
    if variant not in variants:
        known = ", ".join(filter(None, variants)) or "none"
        raise SerError(f"{variant!r} is not a variant of {family}; known: {known}.")
    return (variants[variant],)
