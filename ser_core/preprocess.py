"""From a waveform to the speech in it: level, trim, noise reduction.

The steps and their order are those of the student papers that this project started from; each is
a setting of `PreprocessConfig`. Because the level is normalised first, the gain of the microphone
changes nothing after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ser_core.config import PipelineConfig, PreprocessConfig
from ser_core.errors import NoSpeechError
from ser_core.spectrum import rms

Waveform = npt.NDArray[np.float32]
LOUD_S = 0.25
"""Time in total for which a recording exceeds its speech level; clicks, thumps and beeps are
shorter."""
LEVEL_FRAME_S, LEVEL_HOP_S = 0.025, 0.01
"""Frame and hop of the speech level."""
CREST_DB = 15.0
"""Peaks of speech above its level; few are higher."""


@dataclass(frozen=True, slots=True)
class Speech:
    """The part of a recording that contains speech, at a normalised level.

    Attributes:
        samples: (n_speech_samples,) float32.
        start_s: Start of that part in the recording, in seconds.
        end_s: End of that part, in seconds.
    """

    samples: Waveform
    start_s: float
    end_s: float


def preprocess(waveform: Waveform, config: PipelineConfig) -> Speech:
    """Normalise the level of a recording, trim it and, where set, reduce its noise.

    Args:
        waveform: (n_samples,) float32 in any scale, at `config.audio`'s rate.
        config: Settings; `config.preprocess` determines the steps.

    Raises:
        NoSpeechError: The recording is silent, digitally or nearly, or less than
            `min_speech_s` remains after the trim.
    """
    *_, (_, speech) = preprocess_stages(waveform, config)
    return speech


def preprocess_stages(waveform: Waveform, config: PipelineConfig) -> Iterator[tuple[str, Speech]]:
    """Yield the stages of `preprocess`: `levelled`, `trimmed` and, where set, `denoised`."""
    settings = config.preprocess
    rate_hz = config.audio.sample_rate_hz
    if settings.remove_dc:
        waveform = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    peak_dbfs = dbfs(loudest(waveform, settings, sample_rate_hz=rate_hz))
    if peak_dbfs < settings.silence_dbfs:
        found = (
            f"its loudest moment is at {peak_dbfs:.0f} dBFS"
            if peak_dbfs > -120
            else "there is no signal at all"
        )
        raise NoSpeechError(
            f"We heard only silence: {found}; at least {settings.silence_dbfs:.0f} dBFS is needed. "
            "Check your microphone and speak up."
        )
    levelled = normalise_level(waveform, settings, sample_rate_hz=rate_hz)
    yield "levelled", Speech(levelled, 0.0, len(levelled) / rate_hz)
    start, end = find_ends(levelled, settings, sample_rate_hz=rate_hz)
    if end - start < settings.min_speech_s * rate_hz:
        raise NoSpeechError(
            f"We heard too little speech: {(end - start) / rate_hz:.2f} s; at least "
            f"{settings.min_speech_s:.2f} s is needed. Record a whole sentence."
        )
    speech = Speech(levelled[start:end], float(start / rate_hz), float(end / rate_hz))
    yield "trimmed", speech
    if settings.noise_reduction:
        import noisereduce  # pulls in matplotlib, so only where it is used

        # Sainburg, Thielk and Gentner 2020; over speech without padding.
        denoised = noisereduce.reduce_noise(y=speech.samples, sr=rate_hz)
        yield "denoised", replace(speech, samples=np.asarray(denoised, dtype=np.float32))


def dbfs(amplitude: float) -> float:
    """Return the level of an amplitude in decibels relative to full scale; silence is -inf."""
    with np.errstate(divide="ignore"):
        return float(20.0 * np.log10(amplitude))


def normalise_level(
    waveform: Waveform, settings: PreprocessConfig, *, sample_rate_hz: int
) -> Waveform:
    """Scale the loudest moment, see `loudest`, to `-headroom_db` dBFS, and limit samples to that.

    Args:
        waveform: (n_samples,) float32 with at least one sample that is not zero.
        settings: `level` gives the method; `pydub` rounds to 16 bit, as the papers did, and
            needs a waveform within ±1.
        sample_rate_hz: Rate of the waveform.

    Returns:
        (n_samples,) float32.
    """
    if settings.level == "none":
        return waveform
    if settings.level == "pydub":
        return _normalise_with_pydub(waveform, settings.headroom_db, sample_rate_hz)
    target = 10.0 ** (-settings.headroom_db / 20.0)
    gain = np.float32(target / loudest(waveform, settings, sample_rate_hz=sample_rate_hz))
    levelled = np.multiply(waveform, gain, dtype=np.float32)
    return np.clip(levelled, -target, target) if settings.level == "speech" else levelled


def loudest(waveform: Waveform, settings: PreprocessConfig, *, sample_rate_hz: int) -> float:
    """Return the amplitude of the loudest moment of a recording.

    That is the highest sample. With the level `speech` it is `CREST_DB` above the root mean
    square that is exceeded for `LOUD_S` in total, which no click, thump or short beep moves;
    except where that is silence, such as around a word that is as short.

    Args:
        waveform: (n_samples,) float32.
        settings: `level` gives the method.
        sample_rate_hz: Rate of the waveform.
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    length, hop = (round(s * sample_rate_hz) for s in (LEVEL_FRAME_S, LEVEL_HOP_S))
    if settings.level != "speech" or len(waveform) < length:
        return peak
    levels = rms(waveform, frame_length=length, hop_length=hop, center=False)
    n_louder = min(round(LOUD_S / LEVEL_HOP_S), len(levels) - 1)
    level = float(np.sort(levels)[-n_louder - 1]) * 10.0 ** (CREST_DB / 20.0)
    return level if dbfs(level) >= settings.silence_dbfs else peak


def find_ends(
    waveform: Waveform, settings: PreprocessConfig, *, sample_rate_hz: int
) -> tuple[int, int]:
    """Return the first sample that is not silence, and the one after the last, as `settings` say.

    With the level `speech`, silence is what lies below that level, and a sound shorter than
    `LOUD_S` before or after the speech counts as silence, too.

    Args:
        waveform: (n_samples,) float32, normalised by `normalise_level`.
        settings: Those of the trim.
        sample_rate_hz: Rate of the waveform.
    """
    if not settings.trim:
        return 0, len(waveform)
    length, hop = settings.trim_frame_length, settings.trim_hop_length
    levels = rms(waveform, frame_length=length, hop_length=hop)
    if settings.level == "speech":
        from scipy import ndimage  # heavy

        level_dbfs = -settings.headroom_db - CREST_DB
        loud = levels > 10.0 ** ((level_dbfs - settings.trim_top_db) / 20.0)
        n_frames = 1 + int((LOUD_S * sample_rate_hz + length) // hop)  # a sound so short reaches
        long = ndimage.binary_opening(loud, np.ones(n_frames))
        loud = long if long.any() else loud
    else:
        power_db = 10.0 * np.log10(np.maximum(1e-10, np.square(levels)))
        loud = power_db - power_db.max() > -settings.trim_top_db
    frames = np.flatnonzero(loud)
    if not len(frames):
        return 0, 0
    return int(frames[0]) * hop, min((int(frames[-1]) + 1) * hop, len(waveform))


def _normalise_with_pydub(waveform: Waveform, headroom_db: float, rate_hz: int) -> Waveform:
    from pydub import AudioSegment, effects

    pcm = np.round(np.clip(waveform, -1.0, 1.0) * 32_767.0).astype("<i2")
    segment = AudioSegment(pcm.tobytes(), frame_rate=rate_hz, sample_width=2, channels=1)
    normalised = effects.normalize(segment, headroom=headroom_db)
    return np.asarray(normalised.get_array_of_samples(), dtype=np.float32) / 32_768.0
