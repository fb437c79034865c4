"""The intensity of a prediction: from the network's last column to every output."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from ser_core.batch import BatchRow
from ser_core.cli.output import print_csv, print_json, print_segments, print_table
from ser_core.errors import ModelError
from ser_core.export import export
from ser_core.labels import LABELS
from ser_core.live import LiveSession
from ser_core.model.assemble import connect_encoder, record_probe
from ser_core.model.emotion_model import EmotionModel, load_model
from ser_core.model.manifest import FILE_NAME, Manifest, digest_of
from ser_core.model.saved_model import NETWORK
from ser_core.prediction import Prediction, mean_intensity
from ser_core.predictor import Predictor
from ser_core.preprocess import Waveform
from ser_core.quality import DOUBTFUL_SPEECH, QualityWarning
from ser_core.score import ScoreConfig
from ser_core.score.files import segments_of
from ser_core.score.parts import open_output, read_parts, rows_of, rows_of_segments
from ser_core.segment_formats import read_segments, write_segments
from ser_core.segments import Segment
from ser_core.web import words
from ser_core.web.batch_tab import draw_table, to_columns
from ser_core.web.language import CATALOGUES, use_language
from ser_core.web.listen import draw_comparison, draw_result
from ser_lab.train.architectures import StudentConfig
from ser_lab.train.export import write_network
from tests.accurate import build_random_head, made_up_tensors, write_accurate, write_weights
from tests.conftest import RATE_HZ, make_babble
from tests.test_web import analysis, parse, prediction, text_of

N_COLUMNS = 64
STRONG = replace(prediction(angry=0.7), intensity=0.875)


def write_model(folder: Path, compact: Path, *, n_outputs: int = len(LABELS) + 1) -> Path:
    """A small model of random weights with an intensity, for the features of `compact`."""
    keras.utils.set_random_seed(0)
    plan = StudentConfig(filters=(6,), units=(), attention=4)
    network = plan.build(mean=[-40.0] * N_COLUMNS, variance=[400.0] * N_COLUMNS, n_labels=n_outputs)
    folder.mkdir()
    manifest = replace(
        Manifest.read(compact), probe=None, files={}, has_intensity=n_outputs > len(LABELS)
    )
    manifest = replace(manifest, files=write_network(network, folder, manifest))
    replace(manifest, probe=record_probe(folder, manifest)).write(folder)
    return folder


@pytest.fixture(scope="module")
def folder(bundled_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("intensity") / "tiny", bundled_model)


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Predictor:
    return Predictor.from_folder(folder, trust=True)


@pytest.fixture(scope="module")
def long_clip() -> Waveform:
    """10 s, which are several windows."""
    return make_babble(duration_s=10.0)


def test_the_intensity_is_the_mean_over_windows_of_the_last_logit(
    tiny: Predictor, folder: Path, long_clip: Waveform
) -> None:
    source = (RATE_HZ, long_clip)
    found = tiny.analyse(source)
    network = keras.models.load_model(folder / NETWORK, compile=False)
    logits = np.concatenate(
        [
            network([window.features[None], np.array([len(window.features)])])
            for window in tiny.prepare(source).windows
        ]
    )
    expected = 1.0 / (1.0 + np.exp(-logits[:, len(LABELS)]))
    assert len(expected) > 1
    np.testing.assert_allclose([w.intensity for w in found.windows], expected, atol=1e-5)
    assert found.prediction.intensity == pytest.approx(expected.mean(), abs=1e-5)
    assert sum(found.prediction.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert found.timeline()["intensity"] == [w.intensity for w in found.windows]


@pytest.mark.parametrize(
    "runtime", ["keras", "onnx", pytest.param("tflite", marks=pytest.mark.slow)]
)
def test_every_runtime_gives_the_same_intensity(
    runtime: str, folder: Path, tiny: Predictor, long_clip: Waveform, tmp_path: Path
) -> None:
    if runtime == "keras":
        model = load_model(folder / NETWORK)
        expected = tiny.predict((RATE_HZ, long_clip))
        found = Predictor(model).predict((RATE_HZ, long_clip))
        assert found.intensity == pytest.approx(expected.intensity, abs=1e-5)
        return
    # `export` compares all outputs with those of the network.
    assert export(load_model(folder), tmp_path / "export", to=runtime) < 1e-5  # type: ignore[arg-type]
    assert "`intensity`" in (tmp_path / "export" / "README.md").read_text()
    if runtime == "onnx":
        features = np.zeros((2, 40, N_COLUMNS), np.float32)
        exported = load_model(tmp_path / "export")
        assert exported.infer(features).shape == (2, len(LABELS) + 1)
        np.testing.assert_allclose(exported.infer(features), tiny.model.infer(features), atol=1e-5)
        assert exported(features).shape == (2, len(LABELS))


def test_a_head_behind_the_encoder_can_have_one(tmp_path: Path) -> None:
    tensors = made_up_tensors()
    weights = write_weights(tmp_path / "model.safetensors", tensors)
    head = build_random_head(n_outputs=len(LABELS) + 1)
    manifest = write_accurate(tmp_path / "accurate", weights, tensors, head=head)
    assert manifest.signature["outputs"]["intensity"]["shape"] == [None]
    serve = connect_encoder(tmp_path / "accurate", manifest, weights).serve
    answer = serve(np.zeros((2, 90, 80), np.float32), np.array([90, 70], np.int32))
    assert answer["probabilities"].shape == (2, len(LABELS))
    assert answer["intensity"].shape == (2,)


def test_a_model_without_one_gives_none(predictor: Predictor, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "plain", predictor.model.folder, n_outputs=len(LABELS))
    found = Predictor.from_folder(folder, trust=True).predict((RATE_HZ, make_babble()))
    assert found.intensity is None
    assert found.to_dict()["intensity"] is None


def test_a_manifest_from_before_still_reads(folder: Path, tmp_path: Path) -> None:
    stored = json.loads((folder / FILE_NAME).read_text())
    del stored["has_intensity"], stored["signature"]["outputs"]["intensity"]
    stored["digest"] = digest_of(stored)
    (tmp_path / FILE_NAME).write_text(json.dumps(stored))
    assert not Manifest.parse(tmp_path).has_intensity


def test_a_manifest_that_denies_the_intensity_is_refused(folder: Path) -> None:
    manifest = replace(Manifest.read(folder), has_intensity=False)
    model = EmotionModel(folder, manifest)
    with pytest.raises(ModelError, match=r"disagree on whether there is an intensity"):
        model(np.zeros((1, 40, N_COLUMNS), np.float32))


def test_the_mean_of_intensities_needs_all_of_them() -> None:
    assert mean_intensity([0.2, 0.6]) == pytest.approx(0.4)
    assert mean_intensity([0.2, None]) is None
    assert mean_intensity([]) is None


def test_a_prediction_comes_back_from_json_with_it_and_from_earlier_files_without() -> None:
    stored = STRONG.to_dict()
    assert Prediction.from_dict(stored).intensity == 0.875
    del stored["intensity"]
    assert Prediction.from_dict(stored).intensity is None


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    weak = replace(STRONG, intensity=None)
    answers = [(Path("a.wav"), STRONG), (Path("b.wav"), weak)]
    print_csv(answers, LABELS)
    rows = [*csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert [row["intensity"] for row in rows] == ["0.8750", ""]
    print_json(answers)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["intensity"] for line in lines] == [0.875, None]
    print_table(answers)
    table = capsys.readouterr().out
    assert "intensity" in table
    assert "88%" in table
    print_table(answers[1:])
    assert "intensity" not in capsys.readouterr().out
    print_segments([Segment(0.0, 1.0, prediction=STRONG), Segment(1.0, 2.0)])
    assert "88%" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet", ".TextGrid", ".eaf"])
def test_files_of_segments_hold_it_and_read_as_before(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"talk{suffix}"
    segments = [Segment(0.0, 1.0, speaker="Ada", prediction=STRONG), Segment(1.0, 2.0)]
    write_segments(segments, file)
    content = file.read_bytes()
    assert b"intensity" in content
    read = read_segments(file)
    assert [(one.start_s, one.end_s) for one in read] == [(0.0, 1.0), (1.0, 2.0)]
    if suffix == ".json":
        assert read[0].prediction is not None
        assert read[0].prediction.intensity == 0.875


def test_rows_of_an_archive_hold_it() -> None:
    clip = analysis(STRONG)
    clip = replace(clip, windows=(replace(clip.windows[0], intensity=0.25),))
    assert rows_of("a.wav", clip, "clips")[0]["intensity"] == 0.875
    assert rows_of("a.wav", clip, "windows")[0]["intensity"] == 0.25


def test_rows_of_segments_come_back_with_it_and_those_from_before_without(
    predictor: Predictor, tmp_path: Path
) -> None:
    config = ScoreConfig(rows="utterances")
    output = open_output(str(tmp_path / "out"), predictor.manifest, config)
    output.write(rows_of_segments("a.wav", [Segment(0.0, 1.0, prediction=STRONG)]))
    ((_, rows),) = read_parts(output.address)
    assert rows is not None
    (one,) = segments_of(rows, predictor.manifest)
    assert one.prediction is not None
    assert one.prediction.intensity == 0.875
    del rows[0]["intensity"]
    (one,) = segments_of(rows, predictor.manifest)
    assert one.prediction is not None
    assert one.prediction.intensity is None


class Rising:
    """A predictor whose answers differ in their intensity alone."""

    def __init__(self, *intensities: float | None) -> None:
        self.intensities = iter(intensities)

    def predict(self, _: object) -> Prediction:
        return replace(STRONG, intensity=next(self.intensities), duration_s=1.0)


def run_live(predictor: Rising) -> Iterator[Prediction]:
    session = LiveSession()
    second = np.full(RATE_HZ, 0.5, np.float32)
    for _ in range(3):
        answer = session.process(RATE_HZ, second, predictor)
        assert answer is not None
        assert answer.prediction is not None
        yield answer.prediction
    (end, *_) = session.end("stop")
    yield Prediction.from_dict(
        {key: end["prediction"][key] for key in ("probabilities", "intensity")}
    )


def test_live_it_is_smoothed_and_averaged_as_the_probabilities_are() -> None:
    first, second, third, utterance = run_live(Rising(0.0, 1.0, 1.0))
    assert first.intensity == 0.0
    assert first.intensity < (second.intensity or 0.0) < (third.intensity or 0.0) < 1.0
    assert utterance.intensity == pytest.approx(2 / 3)
    *_, utterance = run_live(Rising(0.5, None, 0.5))  # the model was switched
    assert utterance.intensity is None


@pytest.mark.parametrize("language", CATALOGUES)
def test_strong_and_medium_have_a_sentence_and_low_has_none(language: str) -> None:
    with use_language(language):
        texts = [words.intensity(replace(STRONG, intensity=p)) for p in (0.1, 0.3, 0.5, 0.7, 1.0)]
    assert texts[:2] == ["", ""]
    assert texts[3] == texts[4]
    assert len({*texts}) == 3


def test_the_page_has_one_line_where_it_is_known_and_the_clip_is_clearly_speech() -> None:
    line = "Spoken with strong intensity."
    assert text_of(draw_result(analysis(STRONG))).count(line) == 1
    assert "Spoken with" not in text_of(draw_result(analysis(replace(STRONG, intensity=None))))
    doubtful = (QualityWarning(DOUBTFUL_SPEECH, "Hardly speech."),)
    unclear = replace(STRONG, warnings=doubtful)
    assert "Spoken with" not in text_of(draw_result(analysis(unclear)))
    both = [(analysis(STRONG), (), ()), (analysis(replace(STRONG, intensity=None)), (), ())]
    assert text_of(draw_comparison(both)).count(line) == 1


def test_the_table_of_a_batch_has_a_column_where_a_file_has_one() -> None:
    rows = [BatchRow("a.wav", STRONG), BatchRow("b.wav", None, "It is empty.")]
    heads = [head.text for head in parse(draw_table(rows)).iter("button") if head.text]
    assert "intensity" in heads
    assert 'data-value="0.8750"' in draw_table(rows)
    without = [BatchRow("a.wav", replace(STRONG, intensity=None))]
    assert "intensity" not in draw_table(without)
    assert to_columns(rows[0])["intensity"] == 0.875
