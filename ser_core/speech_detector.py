"""Speech detection by Silero VAD, run in NumPy.

It keeps animals, engines, rain and music from the emotion model. The network is that of Silero
VAD 6.2 (Silero Team, https://github.com/snakers4/silero-vad, MIT licence); `tools.silero_vad`
takes its weights from the authors' package. Its probabilities are those of ONNX Runtime to 1e-6.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit

from ser_core.config import PipelineConfig, PreprocessConfig
from ser_core.errors import NoSpeechError
from ser_core.preprocess import Waveform, normalise_level
from ser_core.quality import DOUBTFUL_SPEECH, QualityWarning

RATE_HZ = 16_000
LEVEL = PreprocessConfig(level="speech")
"""Level of the network's input, whichever the model needs."""
CHUNK, CONTEXT = 512, 64
"""Samples of a chunk, which gets one probability, and samples before it that the network sees."""
BLOCK = 16
"""Chunks of a clip computed at once: half a second."""
SPEECH_FROM = 0.1
"""Probability of the most speech-like chunk below which a clip is refused; at most 1% of the clips
of any corpus are (docs/speech.md)."""
CLEAR_FROM = 0.9
"""The same, below which a clip gets a warning; 98% of recorded noise are refused or get one."""
N_FFT, HOP, N_UNITS = 256, 128, 128
STRIDES = (1, 2, 2, 1)
"""Strides of the encoder's convolutions, which turn the four spectra of a chunk into one vector."""

DOUBT = (
    "This may be no speech: it sounds much like noise or music. Speak close to the microphone, or "
    "record in a quieter place."
)

Numbers = npt.NDArray[np.float32]


@cache
def _load_weights() -> dict[str, Numbers]:
    with np.load(Path(__file__).with_name("silero_vad.npz")) as stored:
        return dict(stored)


class SpeechDetector:
    """The network over a stream of samples, with the state that goes on from chunk to chunk."""

    def __init__(self) -> None:
        """Start with the state before any sound."""
        self._context = np.zeros(CONTEXT, np.float32)
        self._rest = np.empty(0, np.float32)
        self._hidden, self._cell = np.zeros((2, N_UNITS), np.float32)

    def process(self, samples: Waveform, *, last: bool = False) -> Numbers:
        """Return the probability of speech of each chunk that the samples complete.

        Args:
            samples: (n_samples,) float32 at `RATE_HZ`, the next of the stream.
            last: Whether the stream ends here; silence then completes the last chunk.

        Returns:
            (n_chunks,) of `CHUNK` samples each.
        """
        samples = np.concatenate([self._rest, samples])
        if last:
            samples = np.pad(samples, (0, -len(samples) % CHUNK))
        n_chunks = len(samples) // CHUNK
        self._rest = samples[n_chunks * CHUNK :]
        padded = np.concatenate([self._context, samples[: n_chunks * CHUNK]])
        self._context = padded[-CONTEXT:]
        if not n_chunks:
            return np.empty(0, np.float32)
        chunks = sliding_window_view(padded, CONTEXT + CHUNK)[::CHUNK]  # (n_chunks, 576)
        weights = _load_weights()
        recurrent, bias = (
            weights["lstm.weight_hh"],
            weights["lstm.bias_ih"] + weights["lstm.bias_hh"],
        )
        block = _encode(chunks) @ weights["lstm.weight_ih"].T + bias
        states = np.empty((len(block), N_UNITS), np.float32)
        for i, row in enumerate(block):
            gates = row + recurrent @ self._hidden
            opened = expit(gates)
            into, keep, _, out = opened.reshape(4, N_UNITS)
            self._cell = keep * self._cell + into * np.tanh(gates[2 * N_UNITS : 3 * N_UNITS])
            states[i] = self._hidden = out * np.tanh(self._cell)
        logits = np.maximum(states, 0.0) @ weights["output.weight"][0, :, 0]
        return np.asarray(expit(logits + weights["output.bias"]), np.float32)


def speech_probabilities(samples: Waveform) -> Iterator[Numbers]:
    """Yield the probabilities of speech of the chunks of a clip, up to `BLOCK` at once.

    Args:
        samples: (n_samples,) float32 at `RATE_HZ`.
    """
    detector, length = SpeechDetector(), BLOCK * CHUNK
    for start in range(0, len(samples), length):
        yield detector.process(samples[start : start + length], last=True)


def _encode(chunks: Numbers) -> Numbers:
    """Return (n_chunks, 128) vectors of (n_chunks, 576) samples."""
    mirrored = np.concatenate([chunks, chunks[:, -2 : -2 - CONTEXT : -1]], axis=1)
    frames = sliding_window_view(mirrored, N_FFT, axis=1)[:, ::HOP]  # (n_chunks, 4, 256)
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    layer = np.abs(np.fft.rfft(frames * window)).astype(np.float32)  # (n_chunks, 4, 129)
    for i, stride in enumerate(STRIDES):
        weight, bias = (_load_weights()[f"encoder.{i}.{part}"] for part in ("weight", "bias"))
        padded = np.pad(layer, ((0, 0), (1, 1), (0, 0)))
        windows = sliding_window_view(padded, 3, axis=1)[:, ::stride]  # (n_chunks, n, n_in, 3)
        layer = np.maximum(np.tensordot(windows, weight, axes=((2, 3), (1, 2))) + bias, 0.0)
    return layer[:, 0]


def speech_probability(samples: Waveform) -> float:
    """Return the probability of speech of the most speech-like chunk of a clip.

    The chunks after the first clear one are not computed.

    Args:
        samples: (n_samples,) float32 at `RATE_HZ` and `LEVEL`.
    """
    highest = 0.0
    for probabilities in speech_probabilities(samples):
        highest = max(highest, float(probabilities.max()))
        if highest >= CLEAR_FROM:
            break
    return highest


def check_speech(samples: Waveform, config: PipelineConfig) -> tuple[QualityWarning, ...]:
    """Check that a clip contains speech.

    Args:
        samples: (n_samples,) float32 from `preprocess`.
        config: Its settings.

    Returns:
        A warning where the clip may contain none, otherwise nothing.

    Raises:
        NoSpeechError: The clip contains no speech.
    """
    if config.audio.sample_rate_hz != RATE_HZ:
        samples = soxr.resample(samples, config.audio.sample_rate_hz, RATE_HZ)
    if config.preprocess.level != LEVEL.level:
        samples = normalise_level(samples, LEVEL, sample_rate_hz=RATE_HZ)
    probability = speech_probability(samples)
    if probability < SPEECH_FROM:
        raise NoSpeechError(
            "We heard no speech: this sounds like noise or music. Speak close to the microphone, "
            "or record in a quieter place."
        )
    if probability < CLEAR_FROM:
        return (QualityWarning(DOUBTFUL_SPEECH, DOUBT),)
    return ()
