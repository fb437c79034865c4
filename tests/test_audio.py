"""load_audio: what comes in, what is refused, and what the refusal says."""

import io
import os
import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.audio import ffmpeg
from ser_core.audio.load import AudioSource, load_audio
from ser_core.config import AudioConfig
from ser_core.errors import AudioError
from tests.conftest import needs_ffmpeg

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
        assert Path(source).name in message
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
def test_load_audio_reads_containers_through_ffmpeg(
    tmp_path: Path, name: str, options: str
) -> None:
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


def test_load_audio_rejects_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nothing.wav")


def test_load_audio_rejects_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to(tmp_path / "nothing.wav")
    assert "does not exist" in refusal(tmp_path / "link.wav")


def test_load_audio_rejects_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_load_audio_rejects_a_pipe_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert "is a pipe or a device" in refusal(tmp_path / "pipe.wav")


def test_load_audio_rejects_a_device() -> None:
    assert "is a pipe or a device" in refusal("/dev/zero")


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


def test_load_audio_rejects_an_empty_file(tmp_path: Path) -> None:
    assert "is empty" in refusal(saved(tmp_path / "empty.wav", b""))


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


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_load_audio_rejects_a_wav_that_was_cut_off(tmp_path: Path, subtype: str) -> None:
    content = encoded("WAV", subtype)
    assert "is cut off" in refusal(saved(tmp_path / "cut.wav", content[: len(content) // 2]))


@pytest.mark.parametrize("declared_s", [3, 36_000])
def test_load_audio_rejects_a_wav_that_promises_more_than_it_holds(
    tmp_path: Path, declared_s: int
) -> None:
    content = wav(pcm_16(tone()), declared=2 * RATE_HZ * declared_s)
    assert "is cut off" in refusal(saved(tmp_path / "lie.wav", content))


def test_load_audio_rejects_a_flac_that_was_cut_off(tmp_path: Path) -> None:
    content = encoded("FLAC")
    assert "cut off" in refusal(saved(tmp_path / "cut.flac", content[: len(content) // 2]))


def test_load_audio_rejects_a_flac_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    assert "is cut off" in refusal(saved(tmp_path / "lie.flac", flac_with_total(3 * RATE_HZ)))


@needs_ffmpeg
@pytest.mark.parametrize(
    "options",
    ["", "-movflags +faststart", "-movflags frag_keyframe+empty_moov -frag_duration 200000"],
    ids=["index last", "index first", "fragments"],
)
def test_load_audio_rejects_an_m4a_that_was_cut_off(tmp_path: Path, options: str) -> None:
    content = m4a(tmp_path / "whole.m4a", *options.split()).read_bytes()
    assert "is cut off" in refusal(saved(tmp_path / "cut.m4a", content[: len(content) // 2]))


@needs_ffmpeg
def test_load_audio_rejects_a_webm_that_was_cut_off(tmp_path: Path) -> None:
    content = browser_webm(tmp_path / "whole.webm").read_bytes()
    assert "is cut off" in refusal(saved(tmp_path / "cut.webm", content[: len(content) // 2]))


@pytest.mark.parametrize(("container", "subtype"), [("MP3", None), ("OGG", "OPUS")])
def test_load_audio_loads_what_is_left_of_a_cut_stream(
    tmp_path: Path, container: str, subtype: str | None
) -> None:
    content = encoded(container, subtype, duration_s=8.0)
    waveform = load_audio(saved(tmp_path / "cut", content[: len(content) // 2]))
    assert_tone(waveform, duration_s=len(waveform) / RATE_HZ)
    assert 2.0 < len(waveform) / RATE_HZ < 6.0


@pytest.mark.parametrize("n_bytes", [14, 30])
def test_load_audio_rejects_a_wav_that_ends_in_its_header(tmp_path: Path, n_bytes: int) -> None:
    path = saved(tmp_path / "head.wav", encoded("WAV")[:n_bytes])
    assert "is damaged, cut off" in refusal(path)


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


@needs_ffmpeg
def test_load_audio_rejects_containers_whose_sample_rate_is_out_of_range(tmp_path: Path) -> None:
    message = refusal(m4a(tmp_path / "low.m4a", "-ar", "7350"))
    assert "sample rate of 7,350 Hz" in message


def test_load_audio_rejects_arrays_of_too_many_channels() -> None:
    assert "65 channels; 1 to 64" in refusal((RATE_HZ, np.zeros((9_000, 65))))


@pytest.mark.parametrize("n_channels", [0, 65, 1_024, 10_000, 65_535])
def test_load_audio_rejects_files_of_too_many_channels(tmp_path: Path, n_channels: int) -> None:
    content = wav(pcm_16(tone(duration_s=20)), n_channels=n_channels)
    message = refusal(saved(tmp_path / "wide.wav", content))
    assert re.search(rf"{n_channels:,} channels; 1 to 64|is damaged", message)


@needs_ffmpeg
def test_load_audio_rejects_containers_of_too_many_channels(tmp_path: Path) -> None:
    path = m4a(tmp_path / "stereo.m4a", "-ac", "2")
    assert "2 channels; 1 to 1" in refusal(path, AudioConfig(max_channels=1))


@pytest.mark.parametrize("duration_s", [0.001, 0.499])
def test_load_audio_rejects_what_is_too_short(tmp_path: Path, duration_s: float) -> None:
    samples = tone(duration_s=duration_s)
    expected = f"lasts only {duration_s:.2f} s; at least 0.5 s"
    assert expected in refusal((RATE_HZ, samples))
    assert expected in refusal(saved(tmp_path / "short.wav", wav(pcm_16(samples))))


def test_load_audio_rejects_a_wav_without_samples(tmp_path: Path) -> None:
    assert "lasts only 0.00 s" in refusal(saved(tmp_path / "header.wav", wav(b"")))


@needs_ffmpeg
def test_load_audio_rejects_containers_that_are_too_short(tmp_path: Path) -> None:
    assert "at least 0.5 s" in refusal(m4a(tmp_path / "short.m4a", duration_s=0.2))


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
def test_load_audio_rejects_containers_that_are_too_long(tmp_path: Path) -> None:
    path = m4a(tmp_path / "long.m4a", duration_s=30.0)
    assert "at most 2 s" in refusal(path, AudioConfig(max_duration_s=2.0))


def test_load_audio_rejects_a_length_that_the_header_promises(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path / "lie.flac", flac_with_total(36_000 * RATE_HZ)))
    assert "lasts 36,000 s or more; at most 600 s" in message


def test_load_audio_stops_decoding_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "long.mp3", encoded("MP3", duration_s=100.0))
    n_decoded = 0
    read = soundfile.SoundFile.read

    def counting(self: soundfile.SoundFile, *args: Any, **kwargs: Any) -> np.ndarray:
        nonlocal n_decoded
        block: np.ndarray = read(self, *args, **kwargs)
        n_decoded += len(block)
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    assert "at most 2 s" in refusal(path, AudioConfig(max_duration_s=2.0))
    assert 2 * RATE_HZ < n_decoded < 10 * RATE_HZ


def test_load_audio_rejects_large_files_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.truncate(50_000_001)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
    assert "is too large: 50,000,001 bytes; at most 50,000,000" in refusal(path)


# ffmpeg as a process


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every ffmpeg that the test starts."""
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(ffmpeg.subprocess, "Popen", Recorded)
    return started


@pytest.fixture
def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ffmpeg for the test to write; it stands first in the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    program = folder / "ffmpeg"
    program.touch(mode=0o755)
    return program


def au_header(*, n_channels: int = 1) -> bytes:
    """What ffmpeg writes before the samples: six integers and 8 bytes of annotation."""
    return struct.pack(">4s5I8x", b".snd", 32, 0xFFFFFFFF, 6, RATE_HZ, n_channels)


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """A file that only ffmpeg may judge."""
    return saved(tmp_path / "take.webm", b"\x1a\x45\xdf\xa3" + bytes(100))


def test_load_audio_says_that_ffmpeg_is_missing(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ffmpeg, which is not installed" in refusal(container)


def test_load_audio_needs_no_ffmpeg_for_a_wav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_tone(load_audio(saved(tmp_path / "clip.wav", encoded("WAV"))))


def test_load_audio_says_that_ffmpeg_does_not_start(container: Path, fake_ffmpeg: Path) -> None:
    fake_ffmpeg.write_bytes(b"\x7fELF of another machine")
    assert "ffmpeg, which does not start" in refusal(container)


def test_load_audio_ends_an_ffmpeg_that_hangs(
    container: Path, fake_ffmpeg: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    fake_ffmpeg.write_text("#!/bin/sh\nexec sleep 60\n")
    began = time.monotonic()
    assert "not decoded within 0.3 s" in refusal(container, AudioConfig(ffmpeg_timeout_s=0.3))
    assert time.monotonic() - began < 10
    assert [process.returncode for process in processes] == [-9]


def test_load_audio_ends_an_ffmpeg_that_stalls_after_the_header(
    container: Path, fake_ffmpeg: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    header = saved(container.parent / "head.au", au_header())
    fake_ffmpeg.write_text(f"#!/bin/sh\ncat {header} && exec sleep 60\n")
    assert "not decoded within 0.3 s" in refusal(container, AudioConfig(ffmpeg_timeout_s=0.3))
    assert [process.returncode for process in processes] == [-9]


def test_load_audio_ends_an_ffmpeg_that_never_stops_writing(
    container: Path, fake_ffmpeg: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    header = saved(container.parent / "head.au", au_header(n_channels=64))
    fake_ffmpeg.write_text(f"#!/bin/sh\nexec cat {header} /dev/zero\n")
    assert "at most 2 s" in refusal(container, AudioConfig(max_duration_s=2.0))
    assert [process.returncode for process in processes] == [-9]


def test_load_audio_survives_an_ffmpeg_that_complains_without_end(
    container: Path, fake_ffmpeg: Path
) -> None:
    fake_ffmpeg.write_text("#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' '\\n' >&2\nexit 1\n")
    assert "is damaged: ffmpeg cannot decode it" in refusal(container)


def test_load_audio_rejects_sound_that_breaks_off_within_a_sample(
    container: Path, fake_ffmpeg: Path
) -> None:
    torn = saved(container.parent / "torn.au", au_header() + bytes(10))
    fake_ffmpeg.write_text(f"#!/bin/sh\ncat {torn}\nexit 1\n")
    assert "is damaged: ffmpeg cannot decode it" in refusal(container)


def test_load_audio_takes_a_file_name_for_no_symptom(tmp_path: Path, fake_ffmpeg: Path) -> None:
    path = saved(tmp_path / "partial file.webm", b"\x1a\x45\xdf\xa3")
    fake_ffmpeg.write_text(f"#!/bin/sh\necho 'file:{path}: Invalid data' >&2\nexit 1\n")
    assert "is damaged: ffmpeg cannot decode it" in refusal(path)


def test_load_audio_rejects_an_ffmpeg_that_says_nothing(container: Path, fake_ffmpeg: Path) -> None:
    fake_ffmpeg.write_text("#!/bin/sh\nexit 0\n")
    assert "contains no audio that can be decoded" in refusal(container)


@needs_ffmpeg
def test_load_audio_rejects_a_film_without_sound(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    film = tmp_path / "silent.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", "-c:v", "mpeg4", film)
    processes.clear()
    assert "contains no audio, only other streams" in refusal(film)
    assert [process.returncode for process in processes] == [1]


@needs_ffmpeg
def test_load_audio_reaps_an_ffmpeg_that_did_its_work(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    path = m4a(tmp_path / "clip.m4a")
    processes.clear()
    load_audio(path)
    assert [process.returncode for process in processes] == [0]


@needs_ffmpeg
def test_load_audio_ties_ffmpeg_to_one_file_and_one_format(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    path = m4a(tmp_path / "clip.m4a")
    processes.clear()
    load_audio(path)
    command: Any = processes[0].args
    reading, writing = command[: command.index("-i") + 2], command[command.index("-i") + 2 :]
    assert reading[-1] == f"file:{path}"
    for option, value in {
        "-protocol_whitelist": "file",
        "-format_whitelist": "mov",
        "-f": "mov",
        "-threads": "1",
    }.items():
        assert reading[reading.index(option) + 1] == value
    assert writing[writing.index("-t") + 1] == "601.0"
    assert "-nostdin" in command
