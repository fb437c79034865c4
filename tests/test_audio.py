"""load_audio: what comes in, what is refused, and what the refusal says."""

import io
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ser_core.audio import sandbox
from ser_core.audio.decode import demuxer_for, open_stream
from ser_core.audio.load import AudioSource, load_audio, load_native, stream_audio
from ser_core.audio.stream import Stream, to_waveform
from ser_core.config import AudioConfig
from ser_core.errors import AudioError, SerError
from ser_core.names import printable
from tests.conftest import ROOT, needs_ffmpeg

RATE_HZ = 16_000
TONE_HZ = 440.0
LEVEL = 0.5


def tone(rate_hz: int = RATE_HZ, *, duration_s: float = 2.0, level: float = LEVEL) -> np.ndarray:
    """(n_samples,) float64 sine."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    return level * np.sin(2 * np.pi * TONE_HZ * t)


def encoded(container: str, subtype: str | None = None, **kwargs: Any) -> bytes:
    """The tone as libsndfile writes it."""
    buffer = io.BytesIO()
    rate_hz = kwargs.get("rate_hz", RATE_HZ)
    soundfile.write(buffer, tone(**kwargs), rate_hz, format=container, subtype=subtype)
    return buffer.getvalue()


def run_ffmpeg(*arguments: str | Path, samples: np.ndarray | None = None) -> bytes:
    """Standard output of ffmpeg, which reads `samples` (44.1 kHz) from its standard input."""
    buffer = io.BytesIO()
    if samples is not None:
        soundfile.write(buffer, samples, 44_100, format="WAV", subtype="FLOAT")
        arguments = ("-i", "pipe:0", *arguments)
    command = ["ffmpeg", "-y", "-v", "error", *map(str, arguments)]
    return subprocess.run(
        command, input=buffer.getvalue(), stdout=subprocess.PIPE, check=True
    ).stdout


def m4a(path: Path, *arguments: str, duration_s: float = 2.0) -> Path:
    """The tone as ffmpeg's AAC, its index at the end unless told otherwise."""
    run_ffmpeg("-c:a", "aac", *arguments, path, samples=tone(44_100, duration_s=duration_s))
    return path


def browser_webm(path: Path) -> Path:
    """The tone as MediaRecorder streams it: Opus, no duration, no sizes, no index."""
    options = ["-c:a", "libopus", "-live", "1", "-f", "webm"]
    webm = run_ffmpeg(*options, "pipe:1", samples=tone(44_100))
    first_cluster = webm.index(b"\x1f\x43\xb6\x75")
    assert b"\x44\x89\x88" not in webm[:first_cluster], "the header has a duration"
    path.write_bytes(webm)
    return path


def wav(
    pcm: bytes, *, declared: int | None = None, rate_hz: int = RATE_HZ, n_channels: int = 1
) -> bytes:
    """A WAV of 16 bit, which may lie about its data."""
    declared = len(pcm) if declared is None else declared
    frame_bytes = 2 * n_channels
    fmt = struct.pack(
        "<HHIIHH",
        1,
        n_channels,
        rate_hz,
        rate_hz * frame_bytes & 0xFFFFFFFF,
        frame_bytes % 65_536,
        16,
    )
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", declared)
    return b"RIFF" + struct.pack("<I", min(declared + 36, 0xFFFFFFFF)) + chunks + pcm


def pcm_16(samples: np.ndarray) -> bytes:
    return (samples * 32_767).round().astype("<i2").tobytes()


def flac_with_total(n_frames: int) -> bytes:
    """A FLAC of 2 s whose header says that it has this many frames (36 bits; 0: unknown)."""
    flac = bytearray(encoded("FLAC"))
    fields = int.from_bytes(flac[18:26], "big")
    flac[18:26] = (fields >> 36 << 36 | n_frames).to_bytes(8, "big")
    return bytes(flac)


def assert_tone(waveform: np.ndarray, *, duration_s: float = 2.0, tolerance_s: float = 0.0) -> None:
    """Right type, length, pitch and level; the edges are the codec's."""
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert abs(len(waveform) / RATE_HZ - duration_s) <= tolerance_s + 1.5 / RATE_HZ
    middle = waveform[RATE_HZ // 2 : RATE_HZ // 2 + 8_000]  # bins of 2 Hz
    assert 2 * np.argmax(np.abs(np.fft.rfft(middle))) == TONE_HZ
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(LEVEL / np.sqrt(2), rel=0.03)


def refusal(source: AudioSource | Any, config: AudioConfig | None = None) -> str:
    """The message that refuses the source; it never names the source's folder."""
    with pytest.raises(AudioError) as caught:
        load_audio(source, config or AudioConfig())
    message = str(caught.value)
    if isinstance(source, str | Path):
        assert str(Path(source).parent) not in message
        assert printable(Path(source).name) in message
    assert message.endswith(".")
    return message


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# What comes in


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        *(("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")),
        *(("WAV", subtype) for subtype in ("FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM")),
        ("WAVEX", "PCM_24"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("AIFF", "PCM_16"),
        ("MP3", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
    ],
)
def test_load_audio_reads_what_libsndfile_reads(
    tmp_path: Path, container: str, subtype: str | None
) -> None:
    path = saved(tmp_path / "clip", encoded(container, subtype))
    assert_tone(load_audio(path), tolerance_s=0.04)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.m4a", "-c:a aac"),
        ("lossless.m4a", "-c:a alac"),
        ("safari.mp4", "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof"),
        ("clip.aac", "-c:a aac"),
        ("clip.mka", "-c:a libvorbis"),
        ("film.mp4", "-f lavfi -i testsrc=d=2:s=64x64:r=5 -c:a aac -c:v mpeg4"),
    ],
)
def test_load_audio_reads_containers(tmp_path: Path, name: str, options: str) -> None:
    run_ffmpeg(*options.split(), tmp_path / name, samples=tone(44_100))
    assert_tone(load_audio(tmp_path / name), tolerance_s=0.08)


@needs_ffmpeg
def test_load_audio_reads_a_webm_that_a_browser_streamed(tmp_path: Path) -> None:
    assert_tone(load_audio(browser_webm(tmp_path / "take.webm")), tolerance_s=0.04)


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp3", "clip.raw", "clip.txt", "clip", "ключ ü"])
def test_load_audio_tells_the_format_by_content(tmp_path: Path, name: str) -> None:
    assert_tone(load_audio(saved(tmp_path / name, encoded("FLAC"))))


@needs_ffmpeg
@pytest.mark.parametrize("name", ["clip.wav", "-i.m4a", "concat:a|b", "partial file.mp3"])
def test_load_audio_tells_a_container_by_content(tmp_path: Path, name: str) -> None:
    path = m4a(tmp_path / "clip.m4a").rename(tmp_path / name)
    assert_tone(load_audio(path), tolerance_s=0.08)


@needs_ffmpeg
def test_load_audio_reads_a_container_from_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m4a(tmp_path / "clip.m4a")
    monkeypatch.chdir(tmp_path)
    assert_tone(load_audio("clip.m4a"), tolerance_s=0.08)


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000])
def test_load_audio_reads_a_wav_that_was_written_to_a_pipe(tmp_path: Path, declared: int) -> None:
    path = saved(tmp_path / "piped.wav", wav(pcm_16(tone()), declared=declared))
    assert_tone(load_audio(path))


def test_load_audio_reads_a_wav_whose_data_ends_a_little_early(tmp_path: Path) -> None:
    pcm = pcm_16(tone())
    path = saved(tmp_path / "sloppy.wav", wav(pcm, declared=len(pcm) + 44))
    assert_tone(load_audio(path))


def test_load_audio_finds_the_data_behind_other_chunks(tmp_path: Path) -> None:
    plain = wav(pcm_16(tone()), declared=0)
    note = b"junk" + struct.pack("<I", 9) + b"data\0\0\0\0!" + b"\0"  # of odd length, so padded
    assert_tone(load_audio(saved(tmp_path / "noted.wav", plain[:36] + note + plain[36:])))


def test_load_audio_reads_a_flac_of_unknown_length(tmp_path: Path) -> None:
    assert_tone(load_audio(saved(tmp_path / "piped.flac", flac_with_total(0))))


@pytest.mark.parametrize(
    "rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]
)
def test_load_audio_resamples_to_the_sine_it_was(tmp_path: Path, rate_hz: int) -> None:
    path = saved(tmp_path / "clip.wav", encoded("WAV", "FLOAT", rate_hz=rate_hz))
    waveform = load_audio(path)
    assert_tone(waveform)
    inside = slice(1_000, -1_000)  # a filter rings where the sine begins and ends
    np.testing.assert_allclose(waveform[inside], tone()[: len(waveform)][inside], atol=1e-3)


def test_load_audio_returns_the_rate_it_is_asked_for() -> None:
    waveform = load_audio((RATE_HZ, tone()), AudioConfig(sample_rate_hz=22_050))
    assert len(waveform) == 44_100


@pytest.mark.parametrize("n_channels", [2, 6, 64])
def test_load_audio_averages_all_channels(tmp_path: Path, n_channels: int) -> None:
    random = np.random.default_rng(n_channels)
    samples = random.uniform(-1, 1, (70_000, n_channels)).astype(np.float32)  # over one block
    soundfile.write(tmp_path / "clip.wav", samples, RATE_HZ, subtype="FLOAT")
    waveform = load_audio(tmp_path / "clip.wav")
    np.testing.assert_allclose(waveform, samples.mean(axis=1), atol=1e-6)


@needs_ffmpeg
def test_load_audio_averages_channels_that_ffmpeg_decodes(tmp_path: Path) -> None:
    stereo = np.stack([tone(44_100), np.zeros(88_200)], axis=1)
    run_ffmpeg("-c:a", "alac", tmp_path / "left.m4a", samples=stereo)
    waveform = load_audio(tmp_path / "left.m4a")
    np.testing.assert_allclose(2 * waveform[1_000:-1_000], tone()[1_000:-1_000], atol=1e-3)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", ">i2", "uint16", "int32", "uint32", "float16", ">f4"]
)
def test_load_audio_scales_arrays_by_their_type(dtype: str) -> None:
    kind = np.dtype(dtype)
    samples, quantum = tone(), 2.0**-10
    if kind.kind in "iu":
        quantum = 2.0 / 2 ** (8 * kind.itemsize)
        zero = 1.0 if kind.kind == "u" else 0.0
        samples = np.round((samples + zero) / quantum)
    waveform = load_audio((RATE_HZ, samples.astype(kind)))
    np.testing.assert_allclose(waveform, tone(), atol=quantum + 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_load_audio_takes_floats_as_they_are(dtype: str) -> None:
    samples = 3.0 * tone()
    waveform = load_audio((RATE_HZ, samples.astype(dtype)))
    np.testing.assert_allclose(waveform, samples, atol=1e-6)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda samples: samples[:, np.newaxis],
        lambda samples: samples[np.newaxis, :],
        lambda samples: np.stack([2 * samples, 0 * samples], axis=1),
        lambda samples: np.stack([2 * samples, 0 * samples], axis=0),
        lambda samples: np.repeat(samples, 2)[::2],
        lambda samples: np.ma.masked_array(samples, samples < 0),
    ],
    ids=["n x 1", "1 x n", "n x 2", "2 x n", "strided", "masked"],
)
def test_load_audio_takes_the_longer_axis_as_time(arrange: Any) -> None:
    np.testing.assert_allclose(load_audio((RATE_HZ, arrange(tone()))), tone(), atol=1e-6)


def test_load_audio_leaves_the_array_alone() -> None:
    samples = tone().astype(np.float32)
    waveform = load_audio((np.int64(RATE_HZ), samples))
    waveform[:] = 0
    np.testing.assert_array_equal(samples, tone().astype(np.float32))


DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    """Any rate, type, channels and values: a short pattern, repeated for 0.5 to 0.6 s."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    bounds = {"min_value": -(2.0**32), "max_value": 2.0**32} if dtype.itemsize > 2 else {}
    finite = {"allow_nan": False, "allow_infinity": False, **bounds} if dtype.kind == "f" else {}
    values = hnp.from_dtype(dtype, **finite)
    pattern = draw(hnp.arrays(dtype, st.integers(1, 30), elements=values))
    rate_hz = draw(st.integers(8_000, 192_000))
    n_frames = draw(st.integers(rate_hz // 2 + 1, round(0.6 * rate_hz)))
    n_channels = draw(st.integers(1, 4))
    return rate_hz, np.resize(pattern, (n_frames, n_channels))


@settings(max_examples=60, deadline=None)
@given(recordings())
def test_any_finite_array_gives_a_finite_waveform_of_its_duration(
    recording: tuple[int, np.ndarray],
) -> None:
    rate_hz, samples = recording
    waveform = load_audio(recording)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert abs(len(waveform) - len(samples) * RATE_HZ / rate_hz) <= 1
    largest = np.abs(samples.astype(np.float64)).max() if samples.dtype.kind == "f" else 1.0
    assert np.abs(waveform).max() <= 4 * largest  # a resampler overshoots, within reason


# What is refused: sources that are no recording


@pytest.mark.parametrize(
    "source",
    [None, 3, b"clip.wav", [RATE_HZ, tone()], (), (RATE_HZ,), (float(RATE_HZ), tone())],
    ids=["None", "int", "bytes", "list", "empty", "rate alone", "float rate"],
)
def test_load_audio_rejects_what_is_no_source(source: Any) -> None:
    assert "(sample_rate_hz, samples)" in refusal(source)


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (tone().tolist(), "list"),
        (tone() > 0, "bool"),
        (tone().astype(object), "object"),
        (tone().astype(complex), "complex128"),
        (tone().astype(np.int64), "int64"),
        (np.zeros(0), r"\(0,\)"),
        (np.zeros((9_000, 0)), r"\(9000, 0\)"),
        (np.zeros((9_000, 2, 1)), r"\(9000, 2, 1\)"),
        (np.array(0.5), r"\(\)"),
    ],
)
def test_load_audio_rejects_arrays_that_hold_no_sound(samples: Any, found: str) -> None:
    assert re.search(found, refusal((RATE_HZ, samples)))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path, "does not exist"),
        (lambda path: path.symlink_to("nothing.wav"), "does not exist"),
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is a pipe or a device"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device"),
        (Path.touch, "is empty"),
    ],
    ids=["nothing", "a link to nothing", "a folder", "a pipe", "a device", "an empty file"],
)
def test_load_audio_rejects_other_paths(tmp_path: Path, make: Any, found: str) -> None:
    make(tmp_path / "clip.wav")
    assert found in refusal(tmp_path / "clip.wav")


@pytest.mark.parametrize("name", ["nul\0byte.wav", "long" * 100])
def test_load_audio_rejects_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    assert "cannot be opened" in refusal(f"{tmp_path}/{name}")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root reads every file: give that up for the test."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    yield
    os.seteuid(user)


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file that nobody may read, in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = saved(Path(folder, "secret.wav"), encoded("WAV"))
        path.chmod(0)
        yield path


@pytest.mark.usefixtures("nobody")
def test_load_audio_rejects_a_file_that_may_not_be_read(secret: Path) -> None:
    assert "may not be read" in refusal(secret)


@pytest.mark.parametrize(
    "content",
    [
        b"Dear diary, today I recorded nothing at all.\n" * 50,
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"R",
        b"\xff",
    ],
    ids=["text", "HLS playlist", "concat script", "picture", "one byte", "half a sync word"],
)
@pytest.mark.parametrize("name", ["clip.wav", "clip.mp4"])
def test_load_audio_rejects_what_is_not_audio(tmp_path: Path, name: str, content: bytes) -> None:
    message = refusal(saved(tmp_path / name, content))
    assert "We couldn't read" in message
    assert "WAV, FLAC, MP3" in message


# What is refused: damage


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGED = {
    **{
        f"half a WAV, {subtype}": (half(encoded("WAV", subtype)), "is cut off")
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT")
    },
    "half a FLAC": (half(encoded("FLAC")), "cut off"),
    "a WAV of 3 s": (wav(pcm_16(tone()), declared=2 * RATE_HZ * 3), "is cut off"),
    "a WAV of 10 h": (wav(pcm_16(tone()), declared=2 * RATE_HZ * 36_000), "is cut off"),
    "a FLAC of 3 s": (flac_with_total(3 * RATE_HZ), "is cut off"),
    "a FLAC of 10 h": (flac_with_total(36_000 * RATE_HZ), "lasts 36,000 s or more; at most 600 s"),
    "a WAV of 14 bytes": (encoded("WAV")[:14], "is damaged, cut off"),
    "a WAV of 30 bytes": (encoded("WAV")[:30], "is damaged, cut off"),
    "a WAV of 0 s": (wav(b""), "lasts only 0.00 s"),
}
"""Content, and the fault to be found; lengths are those in the header."""


@pytest.mark.parametrize("name", DAMAGED)
def test_load_audio_rejects_damaged_files(tmp_path: Path, name: str) -> None:
    content, found = DAMAGED[name]
    assert found in refusal(saved(tmp_path / "clip", content))


@needs_ffmpeg
@pytest.mark.parametrize(
    "options",
    ["", "-movflags +faststart", "-movflags frag_keyframe+empty_moov -frag_duration 200000"],
    ids=["index last", "index first", "fragments"],
)
def test_load_audio_rejects_an_m4a_that_was_cut_off(tmp_path: Path, options: str) -> None:
    content = m4a(tmp_path / "whole.m4a", *options.split()).read_bytes()
    assert "is cut off" in refusal(saved(tmp_path / "cut.m4a", half(content)))


@needs_ffmpeg
def test_load_audio_rejects_a_webm_that_was_cut_off(tmp_path: Path) -> None:
    content = browser_webm(tmp_path / "whole.webm").read_bytes()
    assert "is cut off" in refusal(saved(tmp_path / "cut.webm", half(content)))


@needs_ffmpeg
def test_files_that_were_cut_off_do_not_spoil_the_next_one(tmp_path: Path) -> None:
    run_ffmpeg(tmp_path / "whole.aac", samples=tone(44_100))
    whole = (tmp_path / "whole.aac").read_bytes()
    cut = half(m4a(tmp_path / "whole.m4a").read_bytes())
    for _ in range(2):
        with pytest.raises(AudioError, match="is cut off"), open_stream(io.BytesIO(cut), "cut.m4a"):
            pass
    with open_stream(io.BytesIO(whole), "whole.aac") as stream:
        assert sum(map(len, stream.blocks)) > RATE_HZ


@pytest.mark.parametrize(("container", "subtype"), [("MP3", None), ("OGG", "OPUS")])
def test_load_audio_loads_what_is_left_of_a_cut_stream(
    tmp_path: Path, container: str, subtype: str | None
) -> None:
    content = encoded(container, subtype, duration_s=8.0)
    waveform = load_audio(saved(tmp_path / "cut", half(content)))
    assert_tone(waveform, duration_s=len(waveform) / RATE_HZ)
    assert 2.0 < len(waveform) / RATE_HZ < 6.0


@needs_ffmpeg
@pytest.mark.parametrize(
    "magic", [b"\0\0\0\x18ftypmp42", b"\x1a\x45\xdf\xa3", b"\xff\xf1"], ids=["mp4", "webm", "aac"]
)
def test_load_audio_rejects_a_container_of_noise(tmp_path: Path, magic: bytes) -> None:
    noise = np.random.default_rng(0).bytes(5_000)
    message = refusal(saved(tmp_path / "noise.mp4", magic + noise))
    assert re.search("is damaged|is cut off|holds no sound", message)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("position", [0, 20_000, -1])
def test_load_audio_rejects_non_finite_samples(tmp_path: Path, bad: float, position: int) -> None:
    samples = tone()
    samples[position] = bad
    assert "NaN, infinite or absurdly large" in refusal((RATE_HZ, samples))
    soundfile.write(tmp_path / "bad.wav", samples, RATE_HZ, subtype="DOUBLE")
    assert "NaN, infinite or absurdly large" in refusal(tmp_path / "bad.wav")


def test_load_audio_rejects_doubles_that_overflow() -> None:
    assert "absurdly large" in refusal((RATE_HZ, np.full((9_000, 2), 1.5e308)))


# What is refused: limits


@pytest.mark.parametrize("rate_hz", [-1, 0, 1, 7_999, 192_001, 2**40])
def test_load_audio_rejects_sample_rates_out_of_range(rate_hz: int) -> None:
    message = refusal((rate_hz, tone()))
    assert f"sample rate of {rate_hz:,} Hz; 8,000 to 192,000 Hz" in message


@pytest.mark.parametrize("rate_hz", [0, 1, 7_999, 192_001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_load_audio_rejects_files_whose_sample_rate_is_out_of_range(
    tmp_path: Path, rate_hz: int
) -> None:
    message = refusal(saved(tmp_path / "rate.wav", wav(pcm_16(tone()), rate_hz=rate_hz)))
    assert re.search("sample rate of|is damaged", message)


def test_load_audio_rejects_arrays_of_too_many_channels() -> None:
    assert "65 channels; 1 to 64" in refusal((RATE_HZ, np.zeros((9_000, 65))))


@pytest.mark.parametrize("n_channels", [0, 65, 1_024, 10_000, 65_535])
def test_load_audio_rejects_files_of_too_many_channels(tmp_path: Path, n_channels: int) -> None:
    content = wav(pcm_16(tone(duration_s=20)), n_channels=n_channels)
    message = refusal(saved(tmp_path / "wide.wav", content))
    assert re.search(rf"{n_channels:,} channels; 1 to 64|is damaged", message)


@pytest.mark.parametrize("duration_s", [0.001, 0.499])
def test_load_audio_rejects_what_is_too_short(tmp_path: Path, duration_s: float) -> None:
    samples = tone(duration_s=duration_s)
    expected = f"lasts only {duration_s:.2f} s; at least 0.5 s"
    assert expected in refusal((RATE_HZ, samples))
    assert expected in refusal(saved(tmp_path / "short.wav", wav(pcm_16(samples))))


def test_load_audio_accepts_the_longest_recording_and_no_sample_more() -> None:
    config = AudioConfig(max_duration_s=2.0)
    assert len(load_audio((RATE_HZ, tone()), config)) == 2 * RATE_HZ
    assert "at most 2 s" in refusal((RATE_HZ, np.append(tone(), 0.0)), config)


@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", None), ("FLAC", None), ("MP3", None), ("OGG", "VORBIS")]
)
def test_load_audio_rejects_files_that_are_too_long(
    tmp_path: Path, container: str, subtype: str | None
) -> None:
    path = saved(tmp_path / "long", encoded(container, subtype, duration_s=3.0))
    assert "at most 2 s" in refusal(path, AudioConfig(max_duration_s=2.0))


@needs_ffmpeg
@pytest.mark.parametrize(
    ("options", "duration_s", "limits", "found"),
    [
        ("-ar 7350", 2.0, {}, "sample rate of 7,350 Hz"),
        ("-ac 2", 2.0, {"max_channels": 1}, "2 channels; 1 to 1"),
        ("", 0.2, {}, "at least 0.5 s"),
        ("", 30.0, {"max_duration_s": 2.0}, "at most 2 s"),
    ],
)
def test_load_audio_rejects_containers_beyond_the_limits(
    tmp_path: Path, options: str, duration_s: float, limits: Any, found: str
) -> None:
    path = m4a(tmp_path / "clip.m4a", *options.split(), duration_s=duration_s)
    assert found in refusal(path, AudioConfig(**limits))


@pytest.mark.parametrize("container", ["WAV", "MP3"])
def test_decoding_stops_at_the_limit(container: str) -> None:
    content = encoded(container, duration_s=100.0)
    n_decoded = 0

    def counted(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal n_decoded
        for block in blocks:
            n_decoded += len(block)
            yield block

    @contextmanager
    def open_counted() -> Iterator[Stream]:
        with open_stream(io.BytesIO(content), "long") as stream:
            yield replace(stream, blocks=counted(stream.blocks), n_promised=None)

    with pytest.raises(AudioError, match="at most 2 s"):
        to_waveform(open_counted, AudioConfig(max_duration_s=2.0))
    assert 2 * RATE_HZ < n_decoded < 10 * RATE_HZ


def test_load_audio_rejects_large_files_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.truncate(50_000_001)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
    assert "is too large: 50,000,001 bytes; at most 50,000,000" in refusal(path)


# The true end

RATES = st.sampled_from([16_000, 24_000, 48_000])


@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "options", "n_parts"),
    [
        *((suffix, "", 1) for suffix in ("wav", "flac", "aiff", "au", "w64", "caf", "mov")),
        *((suffix, "", 2) for suffix in ("mp3", "aac", "ogg")),
        ("rf64.wav", "-rf64 always", 1),
        ("adpcm.wav", "-c:a adpcm_ima_wav", 1),
        ("mp3.wav", "-c:a libmp3lame", 1),
        ("alaw.au", "-c:a pcm_alaw", 1),
        ("alac.caf", "-c:a alac", 1),
        ("vbr.mp3", "-q:a 4 -write_xing 0", 1),
        ("bare.mp3", "-b:a 32k -write_xing 0 -id3v2_version 0", 2),
        ("layer2.mp3", "-c:a mp2 -f mp2", 2),
        ("opus", "-c:a libopus", 3),
        ("webm", "-c:a libopus", 1),
        ("weba", "-c:a libvorbis -f webm", 1),
        ("spx", "-c:a libspeex -f ogg", 1),
        ("oga", "-c:a flac -f ogg", 1),
        ("m4a", "", 1),
        ("m4b", "-c:a aac -f ipod", 1),
        ("3gp", "-c:a aac", 1),
        ("mka", "-c:a flac", 1),
        ("mkv", "-c:a pcm_s16le", 1),
    ],
)
@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],  # a failure takes minutes to shrink
)
@given(st.data())
def test_a_recording_is_as_long_as_ffmpeg_finds_it(
    tmp_path: Path, suffix: str, options: str, n_parts: int, data: st.DataObject
) -> None:
    rate_hz = data.draw(st.sampled_from([16_000, 32_000]) if suffix == "spx" else RATES)
    n_channels = data.draw(st.integers(1, 2))
    parts = []
    for _ in range(data.draw(st.integers(n_parts, n_parts + 1)) if n_parts > 1 else 1):
        duration_s = data.draw(st.floats(0.6, 7.0))
        path = tmp_path / f"part.{suffix}"
        samples = np.repeat(tone(44_100, duration_s=duration_s)[:, np.newaxis], n_channels, axis=1)
        run_ffmpeg("-ar", str(rate_hz), *options.split(), path, samples=samples)
        parts.append(path.read_bytes())
    path = saved(tmp_path / f"whole.{suffix}", b"".join(parts))
    raw = run_ffmpeg("-i", path, "-f", "f32le", "-ac", "1", "-ar", str(RATE_HZ), "pipe:1")
    # Codecs start with up to 50 ms that some decoders leave out.
    expected_s, tolerance_s = len(raw) / 4 / RATE_HZ, 0.05 * len(parts)
    assert len(load_audio(path)) / RATE_HZ == pytest.approx(expected_s, abs=tolerance_s)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_joined_parts_of_different_rates_are_refused(tmp_path: Path, suffix: str) -> None:
    parts = []
    for rate_hz in (44_100, 22_050):
        path = tmp_path / f"part.{suffix}"
        run_ffmpeg("-ar", str(rate_hz), path, samples=tone(44_100))
        parts.append(path.read_bytes())
    path = saved(tmp_path / f"joined.{suffix}", b"".join(parts))
    assert "joins parts of different sample rates" in refusal(path)


def test_joined_flacs_are_loaded_whole(tmp_path: Path) -> None:
    joined = saved(tmp_path / "joined.flac", 3 * encoded("FLAC"))  # ffmpeg 5 loses some of it
    assert_tone(load_audio(joined), duration_s=6.0)


def test_joined_wavs_are_loaded_whole(tmp_path: Path) -> None:
    part = wav(pcm_16(tone()))
    assert_tone(load_audio(saved(tmp_path / "joined.wav", 2 * part)), duration_s=4.0)
    other = wav(pcm_16(tone()), rate_hz=2 * RATE_HZ)
    assert "different formats" in refusal(saved(tmp_path / "odd.wav", part + other))


LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.76.100\0"


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF])
def test_metadata_behind_a_streamed_data_chunk_is_no_sound(tmp_path: Path, declared: int) -> None:
    streamed = wav(pcm_16(tone()), declared=declared)
    id3 = b"id3 " + struct.pack("<I", 3) + b"abc\0"
    waveform = load_audio(saved(tmp_path / "streamed.wav", streamed + LIST + id3))
    np.testing.assert_allclose(waveform, tone(), atol=1e-4)


def test_chunks_behind_an_empty_data_chunk_are_no_sound(tmp_path: Path) -> None:
    whole = wav(pcm_16(tone()))
    empty = whole[:36] + b"data" + bytes(4)
    waveform = load_audio(saved(tmp_path / "two.wav", empty + whole[36:]))
    np.testing.assert_allclose(waveform, tone(), atol=1e-4)
    assert "lasts only 0.00 s" in refusal(saved(tmp_path / "none.wav", empty + 4_000 * LIST))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["aiff", "au", "caf", "w64", "mka"])
def test_load_audio_rejects_other_files_that_were_cut_off(tmp_path: Path, suffix: str) -> None:
    run_ffmpeg(tmp_path / f"whole.{suffix}", samples=tone(44_100))
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    message = refusal(saved(tmp_path / f"cut.{suffix}", half(content)))
    assert "cut off" in message


@needs_ffmpeg
def test_an_opus_whose_beginning_was_cut_off_is_loaded(tmp_path: Path) -> None:
    run_ffmpeg("-c:a", "libopus", tmp_path / "whole.opus", samples=tone(44_100, duration_s=4.0))
    run_ffmpeg("-ss", "2", "-i", tmp_path / "whole.opus", "-c", "copy", tmp_path / "late.opus")
    assert_tone(load_audio(tmp_path / "late.opus"), duration_s=2.0, tolerance_s=0.05)


@pytest.mark.parametrize(
    ("container", "subtype"), [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_24")]
)
def test_ffmpeg_and_libsndfile_decode_the_same_samples(container: str, subtype: str) -> None:
    content = encoded(container, subtype)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    _, waveform = to_waveform(lambda: open_stream(io.BytesIO(content), "clip"), AudioConfig())
    np.testing.assert_array_equal(waveform, expected)


@pytest.mark.parametrize("container", ["MP3", "AIFF"])
def test_tags_in_any_alphabet_are_no_obstacle(tmp_path: Path, container: str) -> None:
    content = encoded(container)
    tag = "Jos\u00e9 \u00a9".encode("latin-1").ljust(30)
    if container == "MP3":
        content += b"TAG" + 4 * tag + bytes(5)
    else:
        content = content[:12] + b"NAME" + struct.pack(">I", 30) + tag + content[12:]
    assert_tone(load_audio(saved(tmp_path / "tagged", content)), tolerance_s=0.04)


@needs_ffmpeg
def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    run_ffmpeg("-c:a", "pcm_s16be", tmp_path / "clip.mov", samples=tone(44_100))
    content = (tmp_path / "clip.mov").read_bytes().replace(b"twos", b"????")
    assert "has an unknown encoding" in refusal(saved(tmp_path / "odd.mov", content))


def test_load_native_keeps_the_rate(tmp_path: Path) -> None:
    path = saved(tmp_path / "clip.flac", encoded("FLAC", rate_hz=44_100))
    rate_hz, waveform = load_native(path)
    assert rate_hz == 44_100
    np.testing.assert_allclose(waveform, tone(44_100), atol=1e-4)


# Channels


@pytest.mark.parametrize("gain", [-0.99, -0.9])
def test_of_channels_that_cancel_the_loudest_is_used(tmp_path: Path, gain: float) -> None:
    quiet_first = np.stack([gain * tone(), tone()], axis=1)
    offset = quiet_first + 0.2  # a constant is no sound
    np.testing.assert_allclose(load_audio((RATE_HZ, offset)) - 0.2, tone(), atol=1e-6)
    soundfile.write(tmp_path / "inverted.wav", quiet_first, RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "inverted.wav"), tone(), atol=1e-6)


@pytest.mark.parametrize("n_channels", [2, 64])
def test_one_channel_among_silent_ones_is_averaged(n_channels: int) -> None:
    samples = np.zeros((2 * RATE_HZ, n_channels))
    samples[:, -1] = tone()
    np.testing.assert_allclose(load_audio((RATE_HZ, samples)), tone() / n_channels, atol=1e-6)


# Streams


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", None), ("FLAC", None), ("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS")],
)
def test_a_stream_has_the_samples_of_the_whole(
    tmp_path: Path, container: str, subtype: str | None
) -> None:
    path = saved(tmp_path / "clip", encoded(container, subtype, rate_hz=48_000, duration_s=9.0))
    blocks = list(stream_audio(path))
    assert [block.shape[1] for block in blocks] == [1] * len(blocks)
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks)[:, 0], load_audio(path))


@needs_ffmpeg
def test_a_streamed_container_has_the_samples_of_the_whole(tmp_path: Path) -> None:
    path = m4a(tmp_path / "clip.m4a", duration_s=9.0)
    np.testing.assert_array_equal(np.concatenate([*stream_audio(path)])[:, 0], load_audio(path))


@pytest.mark.parametrize("by_file", [False, True])
def test_a_stream_keeps_channels_apart_or_mixes_them(tmp_path: Path, by_file: bool) -> None:
    both = np.stack([tone(), -0.99 * tone()], axis=1).astype(np.float32)
    source: Any = (RATE_HZ, both)
    if by_file:
        source = tmp_path / "both.wav"
        soundfile.write(source, both, RATE_HZ, subtype="FLOAT")
    apart = np.concatenate([*stream_audio(source, by_channel=True)])
    np.testing.assert_allclose(apart, both, atol=1e-6)
    mixed = np.concatenate([*stream_audio(source)])
    np.testing.assert_allclose(mixed[:, 0], load_audio(source), atol=1e-6)


def test_a_stream_reads_no_more_than_its_blocks_need(tmp_path: Path) -> None:
    path = saved(tmp_path / "long.wav", encoded("WAV", duration_s=200.0))
    shares: list[float] = []
    blocks = stream_audio(path, on_progress=shares.append)
    next(blocks)
    assert 0.0 < shares[0] < 0.2
    assert sum(map(len, blocks)) + 4 * RATE_HZ <= 200 * RATE_HZ
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_stream_ends_at_its_limits(tmp_path: Path) -> None:
    path = saved(tmp_path / "long.mp3", encoded("MP3", duration_s=20.0))
    blocks = stream_audio(path, AudioConfig(max_duration_s=9.0))
    assert len(next(blocks)) >= 4 * RATE_HZ
    with pytest.raises(AudioError, match="at most 9 s"):
        list(blocks)
    with pytest.raises(AudioError, match="does not exist"):
        list(stream_audio(tmp_path / "none.wav"))
    with pytest.raises(AudioError, match="is cut off"):
        list(stream_audio(saved(tmp_path / "cut.wav", half(encoded("WAV", duration_s=30.0)))))


def test_a_stream_that_is_left_ends_its_child(tmp_path: Path) -> None:
    path = saved(tmp_path / "long.wav", encoded("WAV", duration_s=200.0))
    pid = child_of(path).process.pid
    blocks = stream_audio(path)
    next(blocks)
    assert is_running(pid)
    blocks.close()  # type: ignore[attr-defined]
    assert not is_running(pid)
    assert_tone(load_audio(saved(tmp_path / "clip.flac", encoded("FLAC"))))


def test_a_wav_of_a_pipe_that_is_larger_than_its_size_field_is_streamed_to_its_end(
    tmp_path: Path,
) -> None:
    path, n_bytes = tmp_path / "huge.wav", 2**32 + 2**20
    with path.open("wb") as file:  # sparse
        file.write(wav(b"")[:-4] + b"\xff" * 4)
        file.truncate(n_bytes)
    with path.open("rb") as file, open_stream(file, "huge") as stream:
        assert stream.n_promised is not None
        assert stream.n_promised * 2 == pytest.approx(n_bytes, abs=100)


# The child that decodes


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return saved(tmp_path / "clip.flac", encoded("FLAC"))


def child_of(clip: Path) -> sandbox._Child:
    """The idle child that decodes next."""
    load_audio(clip)
    del sandbox._idle[:-1]
    return sandbox._idle[0]


def test_a_child_that_crashes_costs_one_clip_and_is_replaced(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = child_of(clip)
    monkeypatch.setattr(child.process, "poll", lambda: None)  # it dies only now
    child.process.send_signal(signal.SIGSEGV)
    child.process.wait()
    assert "its decoder stopped with code -11" in refusal(clip)
    assert_tone(load_audio(clip))
    assert sandbox._idle[0].process.pid != child.process.pid


def test_a_child_that_died_idle_costs_nothing(clip: Path) -> None:
    child = child_of(clip)
    child.process.kill()
    child.process.wait()
    assert_tone(load_audio(clip))


def test_a_child_that_hangs_is_ended(clip: Path) -> None:
    child = child_of(clip)
    child.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert "not decoded within 0.3 s" in refusal(clip, AudioConfig(ffmpeg_timeout_s=0.3))
    assert time.monotonic() - began < 30
    assert child.process.returncode == -signal.SIGKILL
    assert_tone(load_audio(clip))


def test_a_child_that_needs_too_much_memory_refuses_the_clip(tmp_path: Path) -> None:
    silence = np.zeros(8_000 * 1_800, np.int16)  # 30 min, 1.4 GB at the rate asked for
    path = tmp_path / "bomb.flac"
    soundfile.write(path, silence, 8_000)
    config = AudioConfig(sample_rate_hz=192_000, max_duration_s=1e6, ffmpeg_timeout_s=120.0)
    assert path.stat().st_size < 1_000_000
    assert "needs too much memory" in refusal(path, config)


def test_a_child_has_no_rights(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = """
import socket
from ser_core.audio.sandbox import MAX_BYTES, _give_up_rights
_give_up_rights()
for attempt in (lambda: open("/etc/hostname"), socket.socket, lambda: bytes(MAX_BYTES)):
    try:
        attempt()
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", attempts], cwd=ROOT, stdout=-1, text=True, check=True
    )
    assert done.stdout.split() == ["OSError", "OSError", "MemoryError"]
    sandbox._idle.clear()
    monkeypatch.setenv("SOME_TOKEN", "secret")
    pid = child_of(clip).process.pid
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max open files +0 +0 ", limits)
    assert re.search(r"Max cpu time +\d+ ", limits)
    assert re.search(rf"Max address space +{sandbox.MAX_BYTES} ", limits)


def test_children_are_few_and_shared(clip: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        lengths = [*threads.map(lambda _: len(load_audio(clip)), range(48))]
    assert lengths == [2 * RATE_HZ] * 48
    assert len({child.process.pid for child in sandbox._idle}) <= sandbox.N_CHILDREN


def _load_in_process(path: Path, queue: Any) -> None:
    queue.put((len(load_audio(path)), sandbox._idle[0].process.pid))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_has_children_of_its_own_which_end_with_it(clip: Path, method: str) -> None:
    own = child_of(clip).process.pid
    context: Any = get_context(method)
    queue = context.Queue()
    process = context.Process(target=_load_in_process, args=(clip, queue), daemon=True)
    process.start()
    n_samples, pid = queue.get(timeout=60)
    process.join(30)
    assert (n_samples, process.exitcode) == (2 * RATE_HZ, 0)
    assert pid != own
    assert not Path(f"/proc/{pid}").exists()
    assert_tone(load_audio(clip))
    assert child_of(clip).process.pid == own


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGKILL)", "raise SystemExit(3)"])
def test_no_child_outlives_the_program(clip: Path, end: str) -> None:
    program = f"""
import os, signal
from ser_core.audio import load, sandbox
load.load_audio({str(clip)!r})
print(sandbox._idle[0].process.pid, flush=True)
{end}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=-1, text=True, timeout=60
    )
    deadline = time.monotonic() + 10
    while is_running(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(int(done.stdout))


def is_running(pid: int) -> bool:
    """A zombie, where nobody collects orphans, runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_decoder_that_cannot_start_says_so(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox._idle.clear()
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(SerError, match="decoder did not start"):
        load_audio(clip)


# Whose content chooses what is opened


@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\x02\x01" + bytes(257)])
@pytest.mark.parametrize(
    ("content", "demuxer"),
    [
        (b"RIFF....WAVE", None),
        (b"fLaC", "flac"),
        (b"\xff\xf1", "aac"),
        (b"\xff\xfb", "mp3"),
        (b"\0\0\0\x14ftypqt  ", "mov"),
        (b"\0\0\0\x08wide", "mov"),
        (b"caff" + bytes(24) + b"lpcm", None),
        (b"caff" + bytes(24) + b"aac ", "caf"),
    ],
)
def test_the_demuxer_is_chosen_by_content(content: bytes, tag: bytes, demuxer: str | None) -> None:
    assert demuxer_for(io.BytesIO(tag + content.ljust(32, b"\0"))) == (
        demuxer or ("mp3" if tag else None)
    )


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "dash": '<?xml version="1.0"?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>',
    "sdp": "v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na={target}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("before", [b"", b"ID3\x03" + bytes(6), b"\0\0\0\x14ftypqt  " + bytes(8)])
def test_no_playlist_opens_anything(tmp_path: Path, kind: str, before: bytes, clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        for target in (clip, f"http://127.0.0.1:{port}/a.ts"):
            content = before + PLAYLISTS[kind].format(target=target).encode()
            refusal(saved(tmp_path / "list.wav", content))
        with pytest.raises(TimeoutError):
            server.accept()
