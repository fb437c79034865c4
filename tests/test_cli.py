"""The command line as a user types it."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import soundfile

from ser_core import __version__
from ser_core.cli import lab as names
from ser_core.cli.common import MODELS
from ser_core.cli.output import percent
from ser_core.errors import SerError
from ser_core.labels import LABELS
from ser_core.plots import PICTURES
from ser_core.reference import Reference
from ser_core.registry import ACCURATE, AUTO, COMPACT
from ser_core.web import words
from ser_core.web.address import check_port
from ser_lab.data.protocols import PROTOCOLS
from ser_lab.fetch import SOURCES
from ser_lab.reproduce.recipes import REPRODUCTIONS
from ser_lab.reproduce.splits import SPLIT_KINDS
from ser_lab.train.recipes import RECIPES
from tests.conftest import RATE_HZ, ROOT, make_babble, run_cli


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two recordings and, between them, one that is silent."""
    folder = tmp_path_factory.mktemp("clips")
    sounds = {"one": make_babble(seed=1), "silent": np.zeros(RATE_HZ), "two": make_babble(seed=2)}
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE_HZ)
    return [folder / f"{name}.wav" for name in sounds]


def test_predict_prints_a_table_and_goes_on_after_a_bad_file(clips: list[Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ser_core", "predict", *clips],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    _, *lines, model = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(clips[0]), str(clips[2])]
    assert all(line.split()[2] in LABELS for line in lines)
    assert re.fullmatch(r"Analysed by (accurate|compact) \S+\.", model)
    (complaint,) = done.stderr.splitlines()
    assert complaint.startswith(f"moodmirror: {clips[1]}: We heard")


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0.0, "0%"), (0.004, "<1%"), (0.714, "71%"), (0.996, ">99%"), (1.0, "100%")],
)
def test_percentages_are_those_of_the_page(probability: float, shown: str) -> None:
    assert percent(probability) == shown == words.percent(probability)


def test_predict_prints_json_lines(clips: list[Path]) -> None:
    done = run_cli("predict", "--json", "--model", "compact", clips[0], clips[2])
    assert done.exit_code == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["file"] for answer in answers] == [str(clips[0]), str(clips[2])]
    assert list(answers[0]["probabilities"]) == list(LABELS)


def test_predict_prints_csv(clips: list[Path]) -> None:
    done = run_cli("predict", "--csv", "--model", "compact", clips[0])
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert row["file"] == str(clips[0])
    assert sum(float(row[label]) for label in LABELS) == pytest.approx(1.0, abs=1e-3)


def test_predict_prints_tasks_that_label_studio_imports(clips: list[Path]) -> None:
    done = run_cli("predict", "--label-studio", "--model", "compact", clips[0], clips[2])
    tasks = json.loads(done.stdout)
    assert [task["data"]["audio"].partition("?d=")[2] for task in tasks] == [
        quote(str(clip)) for clip in (clips[0], clips[2])
    ]
    assert all(0 < task["predictions"][0]["score"] <= 1 for task in tasks)


def test_timeline_and_explain_print_json(clips: list[Path]) -> None:
    stretches = json.loads(run_cli("timeline", clips[0], "--model", "compact").stdout)
    assert list(stretches["probabilities"]) == list(LABELS)
    explained = json.loads(run_cli("explain", clips[0], "--model", "compact").stdout)
    top = max(LABELS, key=lambda label: stretches["probabilities"][label][0])
    assert explained["emotion"] == top
    assert len(explained["moments"]) == 6
    silent = run_cli("explain", clips[1], "--model", "compact")
    assert silent.exit_code == 2
    assert silent.stderr.startswith("moodmirror: We heard")


def test_a_batch_is_json_with_scores_where_names_tell(clips: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "clips.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.write(clips[0], "03-01-05-01-01-01-12.wav")
    done = run_cli("batch", archive, clips[1], "--model", "compact")
    assert done.exit_code == 2
    answer = json.loads(done.stdout)
    assert [row["file"] for row in answer["files"]] == ["03-01-05-01-01-01-12.wav", "silent.wav"]
    assert answer["files"][0]["actual"] == "angry"
    assert answer["scores"]["n_files"] == 1


def test_other_clips_of_a_voice_shift_the_answers(clips: list[Path]) -> None:
    compact = ("--model", "compact")
    both = json.loads(run_cli("batch", clips[0], clips[2], *compact).stdout)["files"]
    one_voice = json.loads(run_cli("batch", clips[0], clips[2], "--one-voice", *compact).stdout)
    for reference, tested in ((0, 1), (1, 0)):
        files = [Path(both[row]["file"]).name for row in (reference, tested)]
        paths = [next(clip for clip in clips if clip.name == name) for name in files]
        asked = ("predict", "--json", paths[1], "--reference", paths[0], *compact)
        adapted = json.loads(run_cli(*asked).stdout)["probabilities"]
        assert adapted == one_voice["files"][tested]["probabilities"]
        expected = Reference.of([list(both[reference]["probabilities"].values())])
        probabilities = expected.adapt(list(both[tested]["probabilities"].values()))
        assert list(adapted.values()) == pytest.approx(probabilities, abs=1e-3)
    silent = run_cli("predict", clips[0], "--reference", clips[1], *compact)
    assert silent.exit_code == 2
    assert len(silent.stderr.splitlines()) == 1


def test_a_taught_voice_shifts_the_answers(clips: list[Path], tmp_path: Path) -> None:
    profile, talk = tmp_path / "voice.json", tmp_path / "talk.wav"
    soundfile.write(talk, make_babble(seed=3, duration_s=12.0), RATE_HZ)
    taught = run_cli("teach", talk, "--out", profile, "--model", "compact")
    assert taught.stdout == f"{profile} written, for compact 0.1.0.\n"
    plain, relative = (
        json.loads(run_cli("predict", "--json", clips[0], "--model", "compact", *voice).stdout)
        for voice in ((), ("--voice", profile))
    )
    assert relative["probabilities"] != plain["probabilities"]
    short = run_cli("teach", clips[0], "--out", tmp_path / "none.json", "--model", "compact")
    assert short.exit_code == 2
    assert "at least 8 s is needed" in short.stderr
    assert not (tmp_path / "none.json").exists()
    foreign = run_cli("predict", clips[0], "--voice", clips[0])
    assert (foreign.exit_code, foreign.stdout) == (2, "")


def test_models_are_compared_and_a_clip_is_drawn(clips: list[Path], tmp_path: Path) -> None:
    compared = run_cli("compare", clips[0], "--model", "compact", "--model", ROOT / "model/compact")
    _, *rows, last = compared.stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["compact"] * 2
    assert last.startswith("Analysed by compact ")
    drawn = run_cli("draw", clips[0], "--out", tmp_path, "--model", "compact", "--denoise")
    assert drawn.exit_code == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {"1-loaded.wav", "4-denoised.wav", "features.png"} <= written
    assert {f"{name.replace(' ', '-').lower()}.png" for name in PICTURES} <= written


def test_a_missing_model_is_one_line(clips: list[Path], tmp_path: Path) -> None:
    done = run_cli("predict", clips[0], MOODMIRROR_MODEL=str(tmp_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("moodmirror: ")
    assert len(done.stderr.splitlines()) == 1


def test_training_without_corpora_says_where_to_get_them(tmp_path: Path) -> None:
    done = run_cli("train", "--data", tmp_path, "--out", tmp_path / "m", "--runs", tmp_path / "r")
    assert done.exit_code == 2
    assert "Download it from https://zenodo.org/records/1188976" in done.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.needs_data
def test_predict_names_an_emotion_for_real_clips(data: Path) -> None:
    clips = sorted((data / "ravdess").glob("*-01.opus"))[:3]
    done = run_cli("predict", "--json", "--model", "compact", *clips)
    assert done.exit_code == 0
    assert all(json.loads(line)["emotion"] in LABELS for line in done.stdout.splitlines())


def test_the_version_is_the_package_s_own() -> None:
    assert run_cli("--version").stdout == f"moodmirror {__version__}\n"


def test_a_port_that_is_taken_is_refused_before_a_model_is_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_cli("serve", "--port", str(port), "--model", "/nowhere")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"moodmirror: Port {port} on 127.0.0.1 is not available: ")


@pytest.mark.parametrize("port", ["taken", "many", "0", "70000"])
def test_a_port_of_the_environment_is_refused_alike(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        monkeypatch.setenv("GRADIO_SERVER_PORT", number if port == "taken" else port)
        with pytest.raises(SerError, match="Port .* not available" if port == "taken" else port):
            check_port()
        done = run_cli("serve", "--model", "/nowhere")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("moodmirror: ")
    assert "GRADIO_SERVER_PORT" in line


def test_names_that_the_shell_completes_are_those_of_the_laboratory() -> None:
    assert MODELS == (AUTO, ACCURATE, COMPACT)
    assert set(names.PROTOCOLS) == set(PROTOCOLS)
    assert set(names.RECIPES) == set(RECIPES)
    assert set(names.SYSTEMS) == set(REPRODUCTIONS)
    assert set(names.SPLITS) == set(SPLIT_KINDS)
    assert set(names.CORPORA) == set(SOURCES)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("s", ["score", "segment", "serve"]),
        ("predict --model ac", ["accurate"]),
        ("train c", ["compact"]),
        ("evaluate ravdess-", ["ravdess-6fold", "ravdess-5fold"]),
        ("data fetch ravdess tes", ["tess"]),
        ("reproduce lstm --split s", ["speaker"]),
        ("predict --model my_folder", []),
    ],
)
def test_the_shell_completes_names(typed: str, offered: list[str]) -> None:
    words = f"moodmirror {typed}"
    done = run_cli(
        _MOODMIRROR_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert done.stdout.split() == offered
