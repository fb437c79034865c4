"""The pictures of a sound: what the field looks at, drawn by librosa and matplotlib.

Both are loaded when the first picture is asked for, so that a start does without them.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import librosa
import numpy as np
import numpy.typing as npt

from ser_core.preprocess import Waveform

if TYPE_CHECKING:
    from matplotlib.axes import Axes


INK, CHALK = "#131617", "#eeebe4"


@dataclass(frozen=True, slots=True)
class FigureStyle:
    """How pictures are drawn: how large, and on which axes, so that several can be compared.

    Attributes:
        size_inches: Width and height.
        dots_per_inch: Resolution.
        font_points: Size of the text.
        end_s: Where the time axis ends; where None, at the end of the sound.
        peak: Where the axis of the waveform ends; where None, at the highest sample.
        loudest: The RMS that is 0 dB in the picture of the energy; where None, that of the
            loudest frame.
    """

    size_inches: tuple[float, float] = (8.0, 2.6)
    dots_per_inch: int = 110
    font_points: float = 11.0
    end_s: float | None = None
    peak: float | None = None
    loudest: float | None = None


PAGE = FigureStyle()
"""How the page has its pictures."""


def to_png(draw: Callable[["Axes"], None], look: FigureStyle) -> bytes:
    """Draw a picture.

    Args:
        draw: Draws on empty axes.
        look: Size of the picture and of its text.
    """
    from matplotlib.figure import Figure

    # Outside pyplot, whose state threads would share.
    figure = Figure(look.size_inches, look.dots_per_inch, facecolor=INK, layout="constrained")
    axes = figure.add_subplot(facecolor=INK)
    draw(axes)
    axes.tick_params(colors=CHALK, labelsize=look.font_points)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=CHALK, fontsize=look.font_points)
    for spine in axes.spines.values():
        spine.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


COLOURS = "magma"
FRAME_LENGTH, HOP_LENGTH = 1_024, 256
MAX_COLUMNS = 1_200
"""Frames of a picture: a longer sound is looked at less often."""
LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 65.0, 600.0
VOICED_TOP_DB = 30.0
"""Frames this far below the loudest are drawn without a pitch."""
MAX_PITCH_S = 30.0
"""Longest sound whose pitch is drawn: the estimate is slow."""
MAX_BANDS = 400
"""Points of a Fourier spectrum: of a longer one, neighbours are averaged."""
FAINTEST_DB = -60.0
"""Where the axis of the energy begins; that of a Fourier spectrum begins 20 dB lower."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a sound.

    Attributes:
        name: Which one, a key of `PAPER_PICTURES`.
        png: The file.
    """

    name: str
    png: bytes


def draw_sound(
    waveform: Waveform,
    sample_rate_hz: int,
    *,
    pictures: "Mapping[str, Draw] | None" = None,
    look: FigureStyle = PAGE,
) -> tuple[Picture, ...]:
    """Draw pictures of a sound.

    Args:
        waveform: (n_samples,) float32, mono.
        sample_rate_hz: Its rate.
        pictures: Which ones, `PICTURES` or `PAPER_PICTURES`; the former where None.
        look: Size and axes.

    Returns:
        One picture for each of them, in that order.

    Source: librosa; McFee et al. 2015. Pitch: YIN, de Cheveigné and Kawahara 2002.
    """
    sound = _Sound.of(waveform, sample_rate_hz, look)
    return tuple(Picture(name, _png(sound, draw)) for name, draw in (pictures or PICTURES).items())


def loudest_frame(waveform: Waveform) -> float:
    """RMS of the loudest frame of a sound, as the picture of the energy has it.

    Args:
        waveform: (n_samples,) float32, mono.
    """
    level = librosa.feature.rms(y=waveform, frame_length=FRAME_LENGTH, hop_length=HOP_LENGTH)
    return float(level.max())


def draw_features(features: npt.NDArray[np.floating[Any]], hop_s: float) -> bytes:
    """Draw what a network sees: a column a frame, each row brought to its own range.

    Args:
        features: (n_frames, n_features).
        hop_s: Seconds from frame to frame.

    Returns:
        A PNG.
    """
    rows = features.T.astype(np.float64)
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    level = (rows - low) / np.maximum(high - low, 1e-9)

    def draw(axes: "Axes") -> None:
        extent = (0.0, len(features) * hop_s, 0.0, float(len(rows)))
        axes.imshow(level, origin="lower", aspect="auto", extent=extent, cmap=COLOURS)
        axes.set(xlabel="s", ylabel="feature")

    return to_png(draw, PAGE)


@dataclass(frozen=True, slots=True)
class _Sound:
    """A sound and its power, computed once for all pictures."""

    waveform: Waveform
    rate_hz: int
    hop: int
    power: npt.NDArray[np.float32]  # (1 + FRAME_LENGTH // 2, n_frames)
    look: FigureStyle

    @classmethod
    def of(cls, waveform: Waveform, rate_hz: int, look: FigureStyle) -> "_Sound":
        hop = max(HOP_LENGTH, -(-len(waveform) // MAX_COLUMNS))
        frames = librosa.stft(waveform, n_fft=FRAME_LENGTH, hop_length=hop)
        return cls(waveform, rate_hz, hop, np.abs(frames) ** 2, look)

    @property
    def end_s(self) -> float:
        """Where the time axis ends."""
        return self.look.end_s or len(self.waveform) / self.rate_hz

    def show(self, axes: "Axes", rows: npt.NDArray[Any], **options: Any) -> None:
        """Draw (n_rows, n_frames) as an image with librosa's axes."""
        from librosa.display import specshow

        specshow(
            rows,
            ax=axes,
            sr=self.rate_hz,
            hop_length=self.hop,
            n_fft=FRAME_LENGTH,
            x_axis="time",
            cmap=COLOURS,
            **options,
        )
        axes.set(xlabel="s", xlim=(0.0, self.end_s))


def _waveform(axes: "Axes", sound: _Sound) -> None:
    step = max(1, len(sound.waveform) // (2 * MAX_COLUMNS))
    edges = np.arange(0, len(sound.waveform), step)
    low, high = (edge.reduceat(sound.waveform, edges) for edge in (np.minimum, np.maximum))
    axes.fill_between(edges / sound.rate_hz, low, high, color="#8ab4f8", linewidth=0.4)
    peak = sound.look.peak or float(np.abs(sound.waveform).max()) or 1.0
    axes.set(xlabel="s", xlim=(0.0, sound.end_s), ylim=(-peak, peak))


def _spectrum(axes: "Axes", sound: _Sound) -> None:
    power = np.abs(np.fft.rfft(sound.waveform)) ** 2
    bands = [band.mean() for band in np.array_split(power, min(MAX_BANDS, len(power)))]
    level = librosa.power_to_db(np.array(bands), ref=np.max, top_db=20.0 - FAINTEST_DB)
    frequencies_khz = np.linspace(0.0, sound.rate_hz / 2_000, len(level))
    axes.plot(frequencies_khz, level, color="#9ccc65", linewidth=0.8)
    axes.set(xlabel="kHz", ylabel="dB", xlim=(0.0, frequencies_khz[-1]))
    axes.set_ylim(FAINTEST_DB - 20.0, 0.0)


def _spectrogram(axes: "Axes", sound: _Sound) -> None:
    sound.show(axes, librosa.power_to_db(sound.power, ref=np.max), y_axis="log")


def _mel_spectrogram(axes: "Axes", sound: _Sound) -> None:
    mel = librosa.feature.melspectrogram(S=sound.power, sr=sound.rate_hz, n_mels=80)
    sound.show(axes, librosa.power_to_db(mel, ref=np.max), y_axis="mel")


def _mfcc(axes: "Axes", sound: _Sound) -> None:
    mel = librosa.feature.melspectrogram(S=sound.power, sr=sound.rate_hz)
    rows = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=13)
    spread = rows.std(axis=1, keepdims=True)
    sound.show(axes, (rows - rows.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-6))
    axes.set_ylabel("coefficient")


def _chroma(axes: "Axes", sound: _Sound) -> None:
    chroma = librosa.feature.chroma_stft(S=sound.power, sr=sound.rate_hz, tuning=0.0)
    sound.show(axes, chroma, y_axis="chroma")


def _pitch(axes: "Axes", sound: _Sound) -> None:
    n_samples = round(MAX_PITCH_S * sound.rate_hz)
    samples = sound.waveform[:n_samples]
    pitch = librosa.yin(
        samples,
        fmin=LOWEST_PITCH_HZ,
        fmax=HIGHEST_PITCH_HZ,
        sr=sound.rate_hz,
        frame_length=2 * FRAME_LENGTH,
        hop_length=sound.hop,
    )
    level = librosa.feature.rms(y=samples, frame_length=FRAME_LENGTH, hop_length=sound.hop)[0]
    voiced = librosa.amplitude_to_db(level, ref=np.max) > -VOICED_TOP_DB
    shown = np.where(voiced & (pitch < 0.98 * HIGHEST_PITCH_HZ), pitch, np.nan)
    axes.plot(_moments_s(len(shown), sound), shown, ".", color="#f7b267", markersize=3)
    axes.set(xlabel="s", ylabel="Hz", xlim=(0.0, min(sound.end_s, MAX_PITCH_S)))
    axes.set_ylim(LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ)


def _energy(axes: "Axes", sound: _Sound) -> None:
    level = librosa.feature.rms(y=sound.waveform, frame_length=FRAME_LENGTH, hop_length=sound.hop)
    shown = librosa.amplitude_to_db(level[0], ref=sound.look.loudest or np.max, top_db=None)
    axes.fill_between(_moments_s(len(shown), sound), FAINTEST_DB, shown, color="#5fb3b1")
    axes.set(xlabel="s", ylabel="dB", xlim=(0.0, sound.end_s), ylim=(FAINTEST_DB, 0.0))


def _moments_s(n_frames: int, sound: _Sound) -> npt.NDArray[np.float64]:
    return np.arange(n_frames) * sound.hop / sound.rate_hz


Draw = Callable[["Axes", _Sound], None]

PICTURES: dict[str, Draw] = {
    "spectrogram": _spectrogram,
    "mel spectrogram": _mel_spectrogram,
    "MFCC": _mfcc,
    "chroma": _chroma,
    "pitch": _pitch,
    "energy": _energy,
}
"""What the page draws."""
PAPER_PICTURES: dict[str, Draw] = {
    "waveform": _waveform,
    "Fourier spectrum": _spectrum,
    **PICTURES,
}
"""What papers and notebooks of the field show."""


def _png(sound: _Sound, draw: Draw) -> bytes:
    return to_png(lambda axes: draw(axes, sound), sound.look)
