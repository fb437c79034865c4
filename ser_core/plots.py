"""Plots of a recording and of features, by librosa and matplotlib.

Both are imported with the first plot, so that an app starts without them.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
"""Lower end of the axis of the energy; that of the spectra is 20 dB lower."""
LEAST_POWER = 1e-10
"""Lowest power of 0 dB, so that silence is dark."""
TIME_STEPS_S = (15.0, 30.0, 60.0, 120.0, 300.0)
"""Steps of a time axis in minutes."""
MAX_TIMES = 8


@dataclass(frozen=True, slots=True)
class FigureStyle:
    """Size of plots, and common axes for plots that are compared.

    Attributes:
        size_inches: Width and height.
        dots_per_inch: Resolution.
        font_points: Size of the text.
        end_s: End of the time axis; None for the end of the recording.
        peaks: Highest value by plot, at which its axis ends; those of the recording by default.
    """

    size_inches: tuple[float, float] = (8.0, 2.6)
    dots_per_inch: int = 110
    font_points: float = 11.0
    end_s: float | None = None
    peaks: Mapping[str, float] = field(default_factory=dict)


PAGE = FigureStyle()
"""Style of the plots on the page."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot of a recording.

    Attributes:
        name: Its kind, a key of `PICTURES`.
        png: The file.
    """

    name: str
    png: bytes


def draw_sound(
    waveform: Waveform, sample_rate_hz: int, *, style: FigureStyle = PAGE
) -> tuple[Picture, ...]:
    """Draw plots of a recording.

    Args:
        waveform: (n_samples,) float32, mono.
        sample_rate_hz: Its rate.
        style: Size and axes.

    Returns:
        One plot for each of `PICTURES`, in that order.

    Source: librosa; McFee et al. 2015. Pitch: YIN, de Cheveigné and Kawahara 2002.
    """
    sound = _Sound.of(waveform, sample_rate_hz, style)
    return tuple(
        Picture(name, _to_png(lambda axes, draw=draw: draw(axes, sound), style))  # type: ignore[misc]
        for name, draw in PICTURES.items()
    )


def share_axes(
    waveforms: Sequence[Waveform], sample_rate_hz: int, style: FigureStyle = PAGE
) -> FigureStyle:
    """Return a style whose axes fit several recordings, to compare their plots.

    Args:
        waveforms: At least one, each (n_samples,) float32, mono.
        sample_rate_hz: Their rate.
        style: Size.
    """
    sounds = [_Sound.of(waveform, sample_rate_hz, style) for waveform in waveforms]
    return replace(
        style,
        end_s=max(sound.end_s for sound in sounds),
        peaks={
            name: max(float(measure(sound).max()) for sound in sounds)
            for name, measure in _MEASURES.items()
        },
    )


def draw_features(features: npt.NDArray[np.floating[Any]], hop_s: float) -> bytes:
    """Draw the input of a model as an image, each row scaled to its own range.

    Args:
        features: (n_frames, n_features).
        hop_s: Seconds from frame to frame.

    Returns:
        A PNG.
    """
    from matplotlib.ticker import MaxNLocator

    rows = features.T.astype(np.float64)
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    level = (rows - low) / np.maximum(high - low, 1e-9)

    def draw(axes: "Axes") -> None:
        extent = (0.0, len(features) * hop_s, 0.0, float(len(rows)))
        axes.imshow(level, origin="lower", aspect="auto", extent=extent, cmap=COLOURS)
        axes.set(ylabel="feature")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        _set_times(axes, extent[1])

    return _to_png(draw, PAGE)


def _to_png(draw: Callable[["Axes"], None], style: FigureStyle) -> bytes:
    from matplotlib.figure import Figure

    # Without pyplot, whose state threads would share.
    figure = Figure(style.size_inches, style.dots_per_inch, facecolor=INK, layout="constrained")
    draw(figure.add_subplot(facecolor=INK))
    for axes in figure.axes:  # with that of a scale of colours
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

    @classmethod
    def of(cls, waveform: Waveform, rate_hz: int, style: FigureStyle) -> "_Sound":
        hop = max(HOP_LENGTH, -(-len(waveform) // MAX_COLUMNS))
        frames = librosa.stft(waveform, n_fft=FRAME_LENGTH, hop_length=hop)
        return cls(waveform, rate_hz, hop, np.abs(frames) ** 2, style)

    @property
    def end_s(self) -> float:
        return self.style.end_s or len(self.waveform) / self.rate_hz

    def peak(self, picture: str) -> float:
        """Return the highest value of a plot of `_MEASURES`, or that of the style."""
        return self.style.peaks.get(picture) or float(_MEASURES[picture](self).max())

    def level(self, picture: str) -> npt.NDArray[np.float64]:
        """Return the power of a plot of `_MEASURES` in decibels below its peak."""
        reference = max(self.peak(picture), LEAST_POWER)
        return np.asarray(
            librosa.power_to_db(_MEASURES[picture](self), ref=reference, amin=1e-18, top_db=None)
        )

    def show(self, axes: "Axes", rows: npt.NDArray[Any], **options: Any) -> Any:
        from librosa.display import specshow

        options |= {"sr": self.rate_hz, "hop_length": self.hop, "n_fft": FRAME_LENGTH}
        mesh = specshow(rows, ax=axes, x_axis="time", cmap=COLOURS, **options)
        _set_times(axes, self.end_s)
        return mesh

    def show_level(self, axes: "Axes", picture: str, **options: Any) -> None:
        """Draw the level of a spectrogram, and its scale beside it."""
        low = FAINTEST_DB - 20.0
        mesh = self.show(axes, self.level(picture), vmin=low, vmax=0.0, **options)
        scale = axes.figure.colorbar(mesh, ax=axes, label="dB", pad=0.01, ticks=(low, low / 2, 0.0))
        scale.outline.set_visible(False)


def _set_times(axes: "Axes", end_s: float) -> None:
    """Set the time axis: in seconds, or in minutes and seconds from a minute on."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, MultipleLocator

    is_long = end_s >= 60.0
    step_s = next((step for step in TIME_STEPS_S if end_s / step <= MAX_TIMES), TIME_STEPS_S[-1])
    axes.set(xlabel="min:s" if is_long else "s", xlim=(0.0, end_s))
    axes.xaxis.set_major_locator(MultipleLocator(step_s) if is_long else AutoLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_clock if is_long else lambda t, _: f"{t:g}"))


def _clock(time_s: float, _index: int | None = None) -> str:
    return f"{time_s // 60:.0f}:{time_s % 60:02.0f}"


def _waveform(axes: "Axes", sound: _Sound) -> None:
    step = max(1, len(sound.waveform) // (2 * MAX_COLUMNS))
    edges = np.arange(0, len(sound.waveform), step)
    low, high = (edge.reduceat(sound.waveform, edges) for edge in (np.minimum, np.maximum))
    axes.fill_between(edges / sound.rate_hz, low, high, color="#8ab4f8", linewidth=0.4)
    peak = sound.peak("waveform") or 1.0
    axes.set(ylabel="amplitude", ylim=(-peak, peak))
    _set_times(axes, sound.end_s)


def _spectrum(axes: "Axes", sound: _Sound) -> None:
    level = sound.level("Fourier spectrum")
    frequencies_khz = np.linspace(0.0, sound.rate_hz / 2_000, len(level))
    axes.plot(frequencies_khz, level, color="#9ccc65", linewidth=0.8)
    axes.set(xlabel="kHz", ylabel="dB", xlim=(0.0, frequencies_khz[-1]))
    axes.set_ylim(FAINTEST_DB - 20.0, 0.0)


def _spectrogram(axes: "Axes", sound: _Sound) -> None:
    sound.show_level(axes, "spectrogram", y_axis="log")


def _mel_spectrogram(axes: "Axes", sound: _Sound) -> None:
    sound.show_level(axes, "mel spectrogram", y_axis="mel")


def _mfcc(axes: "Axes", sound: _Sound) -> None:
    mel = librosa.feature.melspectrogram(S=sound.power, sr=sound.rate_hz)
    rows = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=13)
    spread = rows.std(axis=1, keepdims=True)
    sound.show(axes, (rows - rows.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-6))
    numbers = range(1, len(rows) + 1, 4)
    axes.set_ylabel("coefficient")
    axes.set_yticks([number - 1 for number in numbers], [str(number) for number in numbers])


def _chroma(axes: "Axes", sound: _Sound) -> None:
    chroma = librosa.feature.chroma_stft(S=sound.power, sr=sound.rate_hz, tuning=0.0)
    sound.show(axes, chroma, y_axis="chroma")
    axes.set_ylabel("pitch class")


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
    axes.set(ylabel="Hz", ylim=(LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ))
    _set_times(axes, min(sound.end_s, MAX_PITCH_S))


def _energy(axes: "Axes", sound: _Sound) -> None:
    level = sound.level("energy")
    axes.fill_between(_times_s(len(level), sound), FAINTEST_DB, level, color="#5fb3b1")
    axes.set(ylabel="dB", ylim=(FAINTEST_DB, 0.0))
    _set_times(axes, sound.end_s)


def _times_s(n_frames: int, sound: _Sound) -> npt.NDArray[np.float64]:
    return np.arange(n_frames) * sound.hop / sound.rate_hz


def _fourier_power(sound: _Sound) -> npt.NDArray[np.float64]:
    """Return (n_bands,) mean power of bands of the whole recording, per sample."""
    power = np.abs(np.fft.rfft(sound.waveform)) ** 2 / len(sound.waveform)
    bands = np.array_split(power, min(MAX_BANDS, len(power)))
    return np.array([band.mean() for band in bands])


def _mel_power(sound: _Sound) -> npt.NDArray[np.float32]:
    mel = librosa.feature.melspectrogram(S=sound.power, sr=sound.rate_hz, n_mels=80)
    return np.asarray(mel)


def _frame_power(sound: _Sound) -> npt.NDArray[np.float32]:
    rms = librosa.feature.rms(y=sound.waveform, frame_length=FRAME_LENGTH, hop_length=sound.hop)
    return np.asarray(rms[0] ** 2)


_MEASURES: dict[str, Callable[[_Sound], npt.NDArray[Any]]] = {
    "waveform": lambda sound: np.abs(sound.waveform),
    "Fourier spectrum": _fourier_power,
    "spectrogram": lambda sound: sound.power,
    "mel spectrogram": _mel_power,
    "energy": _frame_power,
}
"""What the plots show whose axes end at its highest value: amplitude, and power else."""

PICTURES: dict[str, Callable[["Axes", _Sound], None]] = {
    "waveform": _waveform,
    "Fourier spectrum": _spectrum,
    "spectrogram": _spectrogram,
    "mel spectrogram": _mel_spectrogram,
    "MFCC": _mfcc,
    "chroma": _chroma,
    "pitch": _pitch,
    "energy": _energy,
}
"""Plots of a recording."""
