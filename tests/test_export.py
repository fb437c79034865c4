"""Exports answer as the model does, without TensorFlow; nothing foreign is replaced."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import soundfile

from ser_core.errors import ModelError, OutputError
from ser_core.export import OPSET, PARITY, export, open_onnx
from ser_core.features import cut_windows
from ser_core.model.emotion_model import load_model
from ser_core.model.manifest import TFLITE
from ser_core.model.onnx_file import ONNX, load_onnx
from ser_core.predictor import Predictor, trace_pipeline
from ser_core.registry import resolve
from tests.conftest import ROOT, run_cli

pytest.importorskip("tf2onnx")

N_CLIPS = 200
MAX_MB = 250
"""Memory of a process that answers, of which librosa or TensorFlow alone would take more."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compact as ONNX, written by the command."""
    folder = tmp_path_factory.mktemp("export") / "onnx"
    done = run_cli("export", "compact", folder)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{folder} written: ")
    return folder


def real_clips(data: Path, n_clips: int) -> list[Path]:
    clips = sorted(data.rglob("*.opus"))
    return clips[:: len(clips) // n_clips][:n_clips]


def distance(one: Predictor, other: Predictor, clips: list[Path]) -> float:
    """Largest difference of a probability over all clips."""
    config = one.config
    features = [trace_pipeline(clip, config).features for clip in clips]
    windows = [window.features for clip in features for window in cut_windows(clip, config)]
    return float(np.abs(one.infer(windows) - other.infer(windows)).max())


@pytest.mark.needs_data
def test_200_recordings_have_the_same_probabilities(
    exported: Path, predictor: Predictor, data: Path
) -> None:
    clips = real_clips(data, N_CLIPS)
    assert len(clips) == N_CLIPS
    assert distance(Predictor.from_folder(exported), predictor, clips) <= PARITY


def test_the_file_has_the_documented_signature(exported: Path, predictor: Predictor) -> None:
    import onnx

    proto = onnx.load(exported / ONNX)
    assert [(o.domain, o.version) for o in proto.opset_import if not o.domain] == [("", OPSET)]
    ends = {
        value.name: (
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert ends == {
        "features": (onnx.TensorProto.FLOAT, ["n_clips", "n_frames", 64]),
        "n_frames": (onnx.TensorProto.INT32, ["n_clips"]),
    } | {
        name: (onnx.TensorProto.FLOAT, ["n_clips", *output["shape"][1:]])
        for name, output in predictor.manifest.signature["outputs"].items()
    }
    about = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(about["labels"]) == list(predictor.labels)
    assert about["licence"] == predictor.manifest.licence
    card = (exported / "README.md").read_text()
    assert f"opset {OPSET}" in card
    assert predictor.manifest.licence in card


def test_padding_and_other_clips_in_a_batch_change_nothing(exported: Path) -> None:
    model = load_model(exported)
    features = np.random.default_rng(0).uniform(-60, 20, (2, 180, 64)).astype(np.float32)
    both = model(features, np.array([180, 71], np.int32))
    np.testing.assert_allclose(both[:1], model(features[:1]), atol=1e-6)
    np.testing.assert_allclose(both[1:], model(features[1:, :71]), atol=1e-6)


def test_an_export_answers_in_a_process_without_tensorflow(
    exported: Path, predictor: Predictor, examples: Path
) -> None:
    clip = examples / "synthetic-angry.flac"
    code = (
        "import json, sys, psutil\nfrom ser_core.predictor import Predictor\n"
        "prediction = Predictor.from_folder(sys.argv[1]).predict(sys.argv[2])\n"
        "heavy = [m for m in ('tensorflow', 'keras', 'librosa', 'numba') if m in sys.modules]\n"
        "mb = psutil.Process().memory_info().rss / 1e6\n"
        "print(json.dumps([list(prediction.probabilities), heavy, mb]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exported, clip],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    probabilities, heavy, mb = json.loads(done.stdout)
    np.testing.assert_allclose(probabilities, predictor.predict(clip).probabilities, atol=PARITY)
    assert heavy == []
    assert mb < MAX_MB


@pytest.fixture
def written(exported: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path]]:
    """What the cache's exports are made of, and where; they are copied, as making them is slow."""
    written = []

    class Pool:
        """Copies the export in place of making it in another process."""

        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, _: object, path: Path, folder: Path) -> "Pool":
            written.append((path, folder))
            shutil.copytree(exported, folder)
            return self

        def result(self) -> None: ...

    monkeypatch.setattr("ser_core.export.ProcessPoolExecutor", Pool)
    return written


def test_predict_runs_the_export_of_the_cache_and_writes_it_once(
    written: list[tuple[Path, Path]], examples: Path, tmp_path: Path
) -> None:
    clip = examples / "synthetic-angry.flac"
    for _ in range(2):
        done = run_cli(
            "predict", "--json", "--runtime", "onnx", "--model", "compact", clip,
            MOODMIRROR_CACHE=str(tmp_path),
        )  # fmt: skip
        assert json.loads(done.stdout)["emotion"] == "angry"
    ((path, folder),) = written
    assert path == ROOT / "model" / "compact"
    assert folder.is_relative_to(tmp_path)


def test_a_model_with_other_settings_has_another_export(
    written: list[tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path))
    compact = load_model(ROOT / "model" / "compact")
    other = shutil.copytree(compact.folder, tmp_path / "other")
    windows = replace(compact.manifest.pipeline.windows, hop_s=2.0)
    pipeline = replace(compact.manifest.pipeline, windows=windows)
    replace(compact.manifest, pipeline=pipeline).write(other)
    folders = {open_onnx(model).folder for model in (compact, load_model(other, trust=True))}
    assert len(folders) == len(written) == 2


def test_an_archive_takes_the_export_where_it_is_installed_and_tensorflow_elsewhere(
    written: list[tuple[Path, Path]],
    examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOODMIRROR_RUNTIME")
    opened: list[str] = []

    def open_pool(_n: int, open_predictor: Callable[[], Predictor], *_: object) -> NoReturn:
        opened.append(open_predictor().model.path.suffix)
        raise ModelError("That was all.")

    monkeypatch.setattr("ser_core.score.ProcessPool", open_pool)
    archive = ("score", "--model", "compact", examples, tmp_path / "answers")
    assert run_cli(*archive).exit_code == 2
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    assert run_cli(*archive).exit_code == 2
    shutil.rmtree(tmp_path / "cache")
    assert run_cli(*archive).exit_code == 2
    assert opened == [".onnx", ".onnx", ""]
    assert len(written) == 1


def test_an_export_is_a_model_that_names_choose_and_is_its_own_export(exported: Path) -> None:
    resolved = resolve(str(exported), runtime="onnx")
    assert resolved.choice == str(exported)
    assert open_onnx(resolved.model) is resolved.model
    assert load_model(exported / ONNX).folder == exported


def test_an_export_cannot_be_exported(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is an export\. Name the model that it was made of"):
        export(load_model(exported), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_an_export_replaces_an_export_and_nothing_else(exported: Path, tmp_path: Path) -> None:
    (exported / "notes.txt").touch()
    try:
        done = run_cli("export", "compact", exported)
    finally:
        (exported / "notes.txt").unlink()
    assert done.exit_code == 2
    assert "was not written by this command" in done.stderr
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OutputError, match="was not written by this command"):
        export(load_model(ROOT / "model" / "compact"), tmp_path)


def test_a_damaged_file_is_refused_in_a_sentence(exported: Path, tmp_path: Path) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / ONNX).write_bytes(b"no graph")
    with pytest.raises(ModelError, match="its SHA-256 differs"):
        load_model(tmp_path)
    with pytest.raises(
        ModelError, match=r"model\.onnx cannot be loaded: .* Export the model again"
    ):
        load_onnx(tmp_path / ONNX, n_labels=8)


def test_an_onnx_file_reads_no_other_file(tmp_path: Path) -> None:
    import onnx

    secret, folder = tmp_path / "secret", tmp_path / "model"
    np.zeros(8, np.float32).tofile(secret)
    folder.mkdir()
    for place in ("../secret", str(secret)):
        weights = onnx.TensorProto(name="weights", data_type=1, dims=[1, 8], data_location=1)
        weights.external_data.add(key="location", value=place)
        output = onnx.helper.make_tensor_value_info("probabilities", 1, [1, 8])
        node = onnx.helper.make_node("Identity", ["weights"], ["probabilities"])
        graph = onnx.helper.make_graph([node], "graph", [], [output], [weights])
        opset = onnx.helper.make_opsetid("", OPSET)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
        (folder / ONNX).write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="External data path"):
            load_onnx(folder / ONNX, n_labels=8)


def test_without_onnx_runtime_the_error_names_the_extra(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"onnxruntime is not installed.*pip install '.\[onnx\]'"):
        Predictor.from_folder(exported)


def test_the_examples_of_the_documentation_run(
    exported: Path,
    predictor: Predictor,
    examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compact-onnx").symlink_to(exported)
    samples, rate_hz = soundfile.read(examples / "synthetic-angry.flac", dtype="float32")
    soundfile.write("clip.wav", samples, rate_hz)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.S)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 2
    assert capsys.readouterr().out.count("angry") == 1
    classify = names["classify"]
    (file,) = classify(["clip.wav"], top_k=8)
    expected = predictor.predict("clip.wav").to_dict()["probabilities"]
    assert {one["label"]: one["score"] for one in file} == pytest.approx(expected, abs=PARITY)
    assert file[0]["label"] == "angry"
    for key in ("raw", "array"):
        assert classify({key: samples, "sampling_rate": rate_hz}, top_k=1)[0]["label"] == "angry"


@pytest.mark.slow
@pytest.mark.needs_data
def test_tflite_answers_as_the_model_and_is_refused_as_one(
    tmp_path: Path, predictor: Predictor, data: Path
) -> None:
    from ser_core.model.saved_model import import_tensorflow

    export(load_model(ROOT / "model" / "compact"), tmp_path / "lite", to="tflite")
    with pytest.raises(ModelError, match=r"model\.tflite, which is for other programs"):
        load_model(tmp_path / "lite")
    run = import_tensorflow().lite.Interpreter(str(tmp_path / "lite" / TFLITE))
    serve = run.get_signature_runner()
    for clip in real_clips(data, 20):
        for window in predictor.prepare(clip).windows:
            n_frames = np.array([len(window.features)], np.int32)
            answer = serve(features=window.features[None], n_frames=n_frames)["probabilities"]
            expected = predictor.model(window.features[None])
            np.testing.assert_allclose(answer, expected, atol=PARITY)


@pytest.mark.slow
@pytest.mark.needs_data
def test_accurate_is_exported_with_the_encoder(
    tmp_path: Path, data: Path, whisper_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(whisper_weights))
    accurate = load_model(ROOT / "model" / "accurate")
    export(accurate, tmp_path / "onnx")
    card = (tmp_path / "onnx" / "README.md").read_text()
    assert "holds the first 4 blocks of the encoder of `openai/whisper-tiny.en`" in card
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(tmp_path / "nowhere"))
    onnx = load_model(tmp_path / "onnx")
    assert onnx.is_local
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(whisper_weights))
    assert distance(Predictor(onnx), Predictor(accurate), real_clips(data, 20)) <= PARITY
