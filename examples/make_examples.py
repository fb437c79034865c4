"""Make the example clips: synthetic voices that show the range of the app, no ground truth.

One sentence, eight styles. espeak-ng speaks it with a style's rate, pitch, pitch range,
emphasis and pauses (SSML); NumPy then shapes what a formant synthesiser cannot: the pitch
contour, tremor, creak, breath, spectral tilt, attack and loudness. The table is `styles.py`.

    python examples/make_examples.py --out examples

The same espeak-ng and the same libraries give the same bytes: all noise is seeded.
"""

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import soundfile
from styles import CARRIER, CLIPS, STYLES, Clip, Style

Waveform = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
PADDING_S = 0.15
ROOM_TONE_DBFS = -72.0
# espeak-ng's emphasis alone adds 10 dB to a word and clips; at half the volume 5 dB are left.
STRESS = '<emphasis level="moderate"><prosody volume="50%">{}</prosody></emphasis>'
TREMOR_HZ = 6.5
ROOM_DECAY_S = 0.04
ROOM_LEVEL = 0.3


def markup(style: Style) -> str:
    """Return the sentence in SSML, as `style` says it."""
    words = []
    for word in CARRIER.split():
        spoken = STRESS.format(word) if word in style.stressed else word
        pause = f'<break time="{style.pause_ms}ms"/>' if word in style.pause_after else ""
        words.append(spoken + pause)
    prosody = f'rate="{style.rate_pct}%" pitch="{style.pitch_pct}%" range="{style.range_pct}%"'
    return f"<speak><prosody {prosody}>{' '.join(words)}{style.ending}</prosody></speak>"


def speak(ssml: str, *, voice: str) -> Waveform:
    """Return espeak-ng's voice without the silence around it: (n_samples,) at 16 kHz."""
    command = ["espeak-ng", "-m", "-z", "-v", voice, "--stdout"]
    spoken = subprocess.run(command, input=ssml.encode(), capture_output=True, check=True)
    waveform, rate_hz = soundfile.read(io.BytesIO(spoken.stdout))
    waveform = librosa.resample(waveform, orig_sr=rate_hz, target_sr=SAMPLE_RATE_HZ)
    return librosa.effects.trim(waveform, top_db=45, frame_length=512, hop_length=128)[0]


def contour(points: tuple[float, ...], n_samples: int) -> Waveform:
    """Return straight lines through evenly spread `points`: (n_samples,)."""
    return np.interp(np.linspace(0, 1, n_samples), np.linspace(0, 1, len(points)), points)


def tremor_wave(n_samples: int) -> Waveform:
    """Return the sine that a trembling voice follows, between -1 and 1: (n_samples,)."""
    return np.sin(2 * np.pi * TREMOR_HZ * np.arange(n_samples) / SAMPLE_RATE_HZ)


def track_periods(waveform: Waveform) -> tuple[Waveform, npt.NDArray[np.bool_]]:
    """Return the pitch period in samples and whether the voice sounds: (n_samples,) each.

    Where no voice sounds, the period is 5 ms.
    """
    f0_hz, voiced, _ = librosa.pyin(
        waveform, fmin=60, fmax=700, sr=SAMPLE_RATE_HZ, frame_length=1024, hop_length=128
    )
    frame = np.minimum(np.arange(len(waveform)) // 128, len(f0_hz) - 1)
    return SAMPLE_RATE_HZ / np.where(voiced, f0_hz, 200.0)[frame], voiced[frame]


def pitch_marks(waveform: Waveform, periods: Waveform, voiced: npt.NDArray[np.bool_]) -> list[int]:
    """Return one sample index a period, on the highest sample of the period where voiced."""
    marks, position = [], 0
    while position < len(waveform):
        reach = int(periods[position] / 4) if voiced[position] else 0
        start = max(position - reach, 0)
        mark = start + int(np.argmax(waveform[start : position + reach + 1]))
        marks.append(mark)
        position = mark + int(periods[mark])
    return marks


def repitch(waveform: Waveform, style: Style) -> Waveform:
    """Move the pitch and weaken every second pulse, formants and duration kept.

    The method is TD-PSOLA: E. Moulines and F. Charpentier, Speech Communication 9 (1990).
    """
    n_samples = len(waveform)
    semitones = contour(style.semitones, n_samples) + style.tremor * tremor_wave(n_samples)
    periods, voiced = track_periods(waveform)
    ratios = np.where(voiced, 2 ** (semitones / 12), 1.0)
    creak = np.where(voiced, style.creak * np.linspace(0, 1, n_samples), 0.0)
    marks = np.array(pitch_marks(waveform, periods, voiced))
    margin = int(periods.max()) + 1
    source, shaped = np.pad(waveform, margin), np.zeros(n_samples + 2 * margin)
    position, pulse = 0.0, 0
    while position < n_samples:
        mark = marks[np.argmin(np.abs(marks - position))]
        half = int(periods[mark] / max(ratios[mark], 1.0))
        grain = source[margin + mark - half : margin + mark + half] * np.hanning(2 * half)
        start = margin + int(position) - half
        shaped[start : start + 2 * half] += grain * (1 - creak[mark] * (pulse % 2))
        position += periods[mark] / ratios[mark]
        pulse += 1
    return shaped[margin:-margin]


def whisper(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Return noise with the spectrum and envelope of `waveform`, above all the high bands."""
    # 16 ms windows are too short to resolve the harmonics, so the noise has no pitch.
    spectrum = np.abs(librosa.stft(waveform, n_fft=256, hop_length=64))
    phase = np.exp(2j * np.pi * rng.random(spectrum.shape))
    return tilt(librosa.istft(spectrum * phase, hop_length=64, length=len(waveform)), 3.0)


def tilt(waveform: Waveform, db_per_octave: float) -> Waveform:
    """Add a slope to the spectrum around 1 kHz, from 125 Hz upwards."""
    frequencies_hz = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE_HZ)
    gain_db = db_per_octave * np.log2(np.maximum(frequencies_hz, 125) / 1000)
    return np.fft.irfft(np.fft.rfft(waveform) * 10 ** (gain_db / 20), len(waveform))


def attack_gain(waveform: Waveform, attack: float) -> Waveform:
    """Return the gain that sharpens or softens onsets: (n_samples,), at most 9 dB either way.

    A level above that of the last 100 ms is an onset.
    """

    def level_db(window_s: float) -> Waveform:
        window = np.hanning(int(window_s * SAMPLE_RATE_HZ))
        power = np.convolve(waveform**2, window / window.sum())[: len(waveform)]
        return 10 * np.log10(power + 1e-5)

    return 10 ** (np.clip(attack * (level_db(0.01) - level_db(0.1)), -9, 9) / 20)


def in_room(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Return the voice with the short echo of a furnished room, which blends its sounds."""
    n_samples = int(4 * ROOM_DECAY_S * SAMPLE_RATE_HZ)
    echo = rng.standard_normal(n_samples) * np.exp(-np.arange(n_samples) / n_samples * 4)
    echo *= ROOM_LEVEL / np.linalg.norm(echo)
    return waveform + np.convolve(waveform, echo)[: len(waveform)]


def say(style: Style, *, voice: str, rng: np.random.Generator) -> Waveform:
    """Return the sentence in one style and voice, with a short silence on both sides."""
    waveform = repitch(speak(markup(style), voice=voice), style)
    waveform = tilt(waveform + style.breath * whisper(waveform, rng), style.tilt_db_per_octave)
    waveform = waveform * attack_gain(waveform, style.attack)
    level_db = contour(style.loudness_db, len(waveform))
    level_db += 3 * style.tremor * tremor_wave(len(waveform))
    waveform = waveform * 10 ** (level_db / 20)
    waveform = np.tanh(style.drive * waveform / np.abs(waveform).max())
    waveform = in_room(np.pad(waveform, int(PADDING_S * SAMPLE_RATE_HZ)), rng)
    waveform *= 10 ** (style.peak_dbfs / 20) / np.abs(waveform).max()
    # Digital silence never comes out of a microphone, and has no logarithm.
    return waveform + 10 ** (ROOM_TONE_DBFS / 20) * rng.standard_normal(len(waveform))


def make_clip(clip: Clip, folder: Path) -> Path:
    """Write one clip as 16 kHz mono FLAC, 16 bit, and return its path."""
    rng = np.random.default_rng(0)
    sentences = [say(STYLES[style], voice=clip.voice, rng=rng) for style in clip.styles]
    path = folder / f"{clip.name}.flac"
    soundfile.write(path, np.concatenate(sentences), SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def main() -> int:
    """Write all clips; return 2 if espeak-ng is missing."""
    parser = argparse.ArgumentParser(description="Make the example clips.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to fill")
    folder: Path = parser.parse_args().out
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is not on the PATH; install it: apt install espeak-ng", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    for clip in CLIPS:
        print(make_clip(clip, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
