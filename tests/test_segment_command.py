"""The command `segment`: segments in, labels out, speakers."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.audio.load import load_audio
from ser_core.cli import segments as command
from ser_core.config import AudioConfig
from ser_core.labels import LABELS
from ser_core.paths import bundled
from ser_core.segment_formats import FORMATS, read_segments
from tests.conftest import RATE_HZ, run_cli


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stereo recording of two voices, each on a channel."""
    pause, sides = np.zeros(RATE_HZ // 2, np.float32), []
    for name in ("happy", "happy-low-voice"):
        path = bundled("examples") / f"synthetic-{name}.flac"
        sides.append(load_audio(path, AudioConfig(sample_rate_hz=RATE_HZ)))
    nothing = [np.zeros_like(side) for side in sides]
    left = np.concatenate([pause, sides[0], pause, nothing[1], pause])
    right = np.concatenate([pause, nothing[0], pause, sides[1], pause])
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE_HZ)
    return path


def test_the_command_offers_all_formats() -> None:
    assert tuple(FORMATS) == command.FORMATS


def test_segments_given_come_out_with_emotions(talk: Path, tmp_path: Path) -> None:
    given = tmp_path / "talk.srt"
    given.write_text(
        "1\n00:00:00,500 --> 00:00:02,500\n[Ada]: The train leaves.\n\n"
        "2\n00:00:03,000 --> 00:00:04,500\nToday.\n"
    )
    done = run_cli("segment", talk, "--segments", given, "--model", "compact")
    first, second = json.loads(done.stdout)["segments"]
    assert (first["speaker"], first["text"], first["end_s"]) == ("Ada", "The train leaves.", 2.5)
    assert (second["speaker"], second["text"]) == (None, "Today.")
    assert {s["prediction"]["emotion"] for s in (first, second)} <= set(LABELS)
    assert done.exit_code == 0


def test_channels_are_speakers_with_a_summary(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.TextGrid"
    done = run_cli("segment", talk, "--speakers", "channels", "--out", out, "--model", "compact")
    assert {s.speaker for s in read_segments(out)} == {"channel 1", "channel 2"}
    assert "channel 1" in done.stdout
    again = run_cli("segment", talk, "--segments", out, "--to", "rttm", "--model", "compact")
    fields = [row.split() for row in again.stdout.splitlines()]
    assert {row[7] for row in fields} == {"channel_1", "channel_2"}
    assert all(row[6] in LABELS for row in fields)


def test_speakers_are_found_and_answers_relative_to_them(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.csv"
    run_cli("segment", talk, "--speakers", 2, "--relative", "--out", out, "--model", "compact")
    found = read_segments(out)
    assert found[0].speaker == "speaker 1"
    assert found[-1].speaker == "speaker 2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "docx"), "docx is no format; expected one of srt, vtt"),
        (("--out", "talk.docx"), "talk.docx is no file of segments"),
        (("--speakers", "0"), "0 is no choice; expected none, auto, channels, find or a"),
        (("--speakers", "9" * 5_000), "is no choice; expected none, auto, channels, find or"),
        (("--segments", "none.srt"), "none.srt cannot be read: No such file"),
    ],
)
def test_a_wrong_option_is_one_sentence(talk: Path, options: tuple[str, ...], message: str) -> None:
    done = run_cli("segment", talk, *options, "--model", "compact")
    assert message in done.stderr
    assert (done.exit_code, done.stdout) == (2, "")


def test_a_transcript_is_not_replaced(talk: Path, tmp_path: Path) -> None:
    given = tmp_path / "talk.srt"
    given.write_text("1\n00:00:00,500 --> 00:00:02,500\nThe train leaves.\n")
    kept = given.read_bytes()
    done = run_cli("segment", talk, "--segments", given, "--out", given, "--model", "compact")
    assert "was not written by this command" in done.stderr
    assert (done.exit_code, given.read_bytes()) == (2, kept)


def test_silence_is_one_sentence(tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(2 * RATE_HZ), RATE_HZ)
    for speakers in ("none", "find"):
        done = run_cli("segment", silent, "--speakers", speakers, "--model", "compact")
        assert "has no speech" in done.stderr
        assert done.exit_code == 2
