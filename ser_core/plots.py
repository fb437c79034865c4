"""Plots of a recording and of features, by librosa and matplotlib.

Both are imported with the first plot, so that an app starts without them.
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
COLOURS = "magma"
FRAME_LENGTH, HOP_LENGTH = 1_024, 256
MAX_COLUMNS = 1_200
"""Most frames of a plot; the hop of a longer recording is larger."""
LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 65.0, 600.0
VOICED_TOP_DB = 30.0
"""Frames this far below the loudest have no pitch."""
MAX_PITCH_S = 30.0
"""Longest part whose pitch is estimated, which is slow."""
MAX_BANDS = 400
"""Most points of a Fourier spectrum; of a longer one, neighbours are averaged."""
FAINTEST_DB = -60.0
"""Lower end of the axis of the energy; that of a Fourier spectrum is 20 dB lower."""


@dataclass(frozen=True, slots=True)
class FigureStyle:
    """Size of plots, and common axes for plots that are compared.

    Attributes:
        size_inches: Width and height.
        dots_per_inch: Resolution.
        font_points: Size of the text.
        end_s: End of the time axis; None for the end of the recording.
        peak: End of the axis of the waveform; None for the highest sample.
        loudest: RMS of 0 dB in the plot of the energy; None for that of the loudest frame.
    """

    size_inches: tuple[float, float] = (8.0, 2.6)
    dots_per_inch: int = 110
    font_points: float = 11.0
    end_s: float | None = None
    peak: float | None = None
    loudest: float | None = None


PAGE = FigureStyle()
"""Style of the plots on the page."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot of a recording.

    Attributes:
        name: Its kind, a key of `PAPER_PICTURES`.
        png: The file.
    """

    name: str
    png: bytes


def draw_sound(
    waveform: Waveform,
    sample_rate_hz: int,
    *,
    pictures: "Mapping[str, Draw] | None" = None,
    style: FigureStyle = PAGE,
) -> tuple[Picture, ...]:
    """Draw plots of a recording.

    Args:
        waveform: (n_samples,) float32, mono.
        sample_rate_hz: Its rate.
        pictures: `PICTURES`, also where None, or `PAPER_PICTURES`.
        style: Size and axes.

    Returns:
        One plot for each of them, in that order.

    Source: librosa; McFee et al. 2015. Pitch: YIN, de Cheveigné and Kawahara 2002.
    """
    hop = max(HOP_LENGTH, -(-len(waveform) // MAX_COLUMNS))
    frames = librosa.stft(waveform, n_fft=FRAME_LENGTH, hop_length=hop)
    sound = _Sound(waveform, sample_rate_hz, hop, np.abs(frames) ** 2, style)
    return tuple(
        Picture(name, _to_png(lambda axes, draw=draw: draw(axes, sound), style))  # type: ignore[misc]
        for name, draw in (pictures or PICTURES).items()
    )


def draw_features(features: npt.NDArray[np.floating[Any]], hop_s: float) -> bytes:
    """Draw the input of a model as an image, each row scaled to its own range.

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

    return _to_png(draw, PAGE)


def loudest_frame(waveform: Waveform) -> float:
    """Return the RMS of the loudest frame of a recording, see `FigureStyle.loudest`."""
    level = librosa.feature.rms(y=waveform, frame_length=FRAME_LENGTH, hop_length=HOP_LENGTH)
    return float(level.max())


def _to_png(draw: Callable[["Axes"], None], style: FigureStyle) -> bytes:
    from matplotlib.figure import Figure

    # Without pyplot, whose state threads would share.
    figure = Figure(style.size_inches, style.dots_per_inch, facecolor=INK, layout="constrained")
    axes = figure.add_subplot(facecolor=INK)
    draw(axes)
    axes.tick_params(colors=CHALK, labelsize=style.font_points)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=CHALK, fontsize=style.font_points)
    for spine in axes.spines.values():
        spine.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class _Sound:
    """A recording and its power, computed once for all plots."""

    waveform: Waveform
    rate_hz: int
    hop: int
    power: npt.NDArray[np.float32]  # (1 + FRAME_LENGTH // 2, n_frames)
    style: FigureStyle

    @property
    def end_s(self) -> float:
        return self.style.end_s or len(self.waveform) / self.rate_hz

    def show(self, axes: "Axes", rows: npt.NDArray[Any], **options: Any) -> None:
        from librosa.display import specshow

        options |= {"sr": self.rate_hz, "hop_length": self.hop, "n_fft": FRAME_LENGTH}
        specshow(rows, ax=axes, x_axis="time", cmap=COLOURS, **options)
        axes.set(xlabel="s", xlim=(0.0, self.end_s))


def _waveform(axes: "Axes", sound: _Sound) -> None:
    step = max(1, len(sound.waveform) // (2 * MAX_COLUMNS))
    edges = np.arange(0, len(sound.waveform), step)
    low, high = (edge.reduceat(sound.waveform, edges) for edge in (np.minimum, np.maximum))
    axes.fill_between(edges / sound.rate_hz, low, high, color="#8ab4f8", linewidth=0.4)
    peak = sound.style.peak or float(np.abs(sound.waveform).max()) or 1.0
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
    axes.plot(_times_s(len(shown), sound), shown, ".", color="#f7b267", markersize=3)
    axes.set(xlabel="s", ylabel="Hz", xlim=(0.0, min(sound.end_s, MAX_PITCH_S)))
    axes.set_ylim(LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ)


def _energy(axes: "Axes", sound: _Sound) -> None:
    level = librosa.feature.rms(y=sound.waveform, frame_length=FRAME_LENGTH, hop_length=sound.hop)
    shown = librosa.amplitude_to_db(level[0], ref=sound.style.loudest or np.max, top_db=None)
    axes.fill_between(_times_s(len(shown), sound), FAINTEST_DB, shown, color="#5fb3b1")
    axes.set(xlabel="s", ylabel="dB", xlim=(0.0, sound.end_s), ylim=(FAINTEST_DB, 0.0))


def _times_s(n_frames: int, sound: _Sound) -> npt.NDArray[np.float64]:
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
"""Plots of the page."""
PAPER_PICTURES: dict[str, Draw] = {
    "waveform": _waveform,
    "Fourier spectrum": _spectrum,
    **PICTURES,
}
"""Plots of the field's papers and notebooks."""
