"""From a recording to a prediction."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.config import PipelineConfig
from ser_core.errors import AudioError, NoSpeechError
from ser_core.features import extract_features
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor, trace_pipeline
from ser_core.preprocess import Waveform, preprocess
from ser_core.quality import DOUBTFUL_SPEECH, QualityWarning
from tests.conftest import RATE_HZ, make_babble


@given(st.permutations([0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02]))
def test_probabilities_keep_the_order_of_the_labels(shares: list[float]) -> None:
    prediction = Prediction.from_probabilities(shares, LABELS)
    answer = json.loads(json.dumps(prediction.to_dict()))
    assert list(answer["probabilities"]) == list(LABELS)
    assert list(answer["probabilities"].values()) == shares
    assert answer["emotion"] == prediction.emotion == LABELS[shares.index(0.4)]
    assert answer["confidence"] == 0.4
    assert [share for _, share in prediction.ranked()] == sorted(shares, reverse=True)


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="3 probabilities for 8 labels"):
        Prediction.from_probabilities([0.2, 0.3, 0.5], LABELS)
    even = Prediction.from_probabilities(np.full(8, 1 / 8), LABELS)
    with pytest.raises(ValueError, match="3 probabilities for 8 labels"):
        even.with_probabilities([0.2, 0.3, 0.5])


def test_other_probabilities_are_certain_or_not_by_the_same_threshold() -> None:
    sure = Prediction.from_probabilities([0.8, 0.2], ("sad", "calm"), certain_from=0.6)
    unsure = sure.with_probabilities(np.array([0.45, 0.55]))
    assert (sure.certain, unsure.certain) == (True, False)
    assert unsure.to_dict()["certain"] is False
    assert unsure.with_probabilities([0.4, 0.6]).certain
    doubtful = replace(sure, warnings=(QualityWarning(DOUBTFUL_SPEECH, "May be noise."),))
    assert not doubtful.certain


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), gain_db=st.floats(-12, 5))
def test_gain_changes_no_answer(predictor: Predictor, seed: int, gain_db: float) -> None:
    clip = make_babble(seed=seed)
    plain = predictor.predict((RATE_HZ, clip))
    scaled = predictor.predict((RATE_HZ, (clip * 10 ** (gain_db / 20)).astype(np.float32)))
    assert sum(plain.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert scaled.probabilities == pytest.approx(plain.probabilities, abs=1e-3)


def test_prediction_tells_length_used_part_timings_and_model(
    predictor: Predictor, babble: np.ndarray
) -> None:
    analysis = predictor.analyse((RATE_HZ, babble))
    prediction = analysis.prediction
    assert prediction.duration_s == len(analysis.waveform) / analysis.sample_rate_hz == 4.0
    assert prediction.speech_start_s == pytest.approx(1.0, abs=0.13)
    assert prediction.speech_end_s == pytest.approx(3.0, abs=0.13)
    stages = {k: v for k, v in prediction.timings_ms.items() if k != "total"}
    assert set(stages) == {"load", "preprocess", "features", "speech", "model"}
    assert prediction.timings_ms["total"] == pytest.approx(sum(stages.values()), abs=0.01)
    assert prediction.model == f"{predictor.manifest.name} {predictor.manifest.version}"
    assert prediction.weights == predictor.manifest.weights_sha256
    assert predictor.manifest.certainty is not None
    assert prediction.certain_from == predictor.manifest.certainty.confidence


def test_a_clip_longer_than_the_window_is_judged_whole(predictor: Predictor) -> None:
    voices = [make_babble(seed=seed)[RATE_HZ : 3 * RATE_HZ] for seed in range(10)]
    prediction = predictor.predict((RATE_HZ, np.concatenate(voices)))
    assert prediction.speech_end_s - prediction.speech_start_s == pytest.approx(20, abs=0.2)
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-5)


def test_windows_are_judged_a_few_at_a_time_in_any_order_of_length(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, sizes, run = np.random.default_rng(0), [], predictor.model.infer
    width = len(predictor.manifest.columns)
    windows = [random.normal(size=(n, width)).astype(np.float32) for n in (90, 30, 60, 31, 90)]

    def counted(features: np.ndarray, n_frames: np.ndarray) -> np.ndarray:
        sizes.append(len(features))
        return run(features, n_frames)

    monkeypatch.setattr(predictor.model, "infer", counted)
    answers = predictor.infer(windows, at_once=2)
    assert sizes == [2, 2, 1]
    alone = np.concatenate([run(window[np.newaxis]) for window in windows])
    np.testing.assert_allclose(answers, alone, atol=1e-4)


def test_path_and_array_give_the_same_answer(
    predictor: Predictor, babble: np.ndarray, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "clip.wav", babble, RATE_HZ, subtype="FLOAT")
    from_path = predictor.predict(tmp_path / "clip.wav").probabilities
    assert predictor.predict((RATE_HZ, babble)).probabilities == from_path


def test_threads_do_not_mix_their_answers(predictor: Predictor) -> None:
    clips = [make_babble(seed=seed) for seed in range(12)]
    alone = [predictor.predict((RATE_HZ, clip)).probabilities for clip in clips]
    with ThreadPoolExecutor(6) as pool:
        together = pool.map(lambda clip: predictor.predict((RATE_HZ, clip)).probabilities, clips)
        for expected, actual in zip(alone, together, strict=True):
            assert actual == pytest.approx(expected, abs=1e-5)


def test_silence_is_an_error_and_never_a_class(predictor: Predictor) -> None:
    with pytest.raises(NoSpeechError):
        predictor.predict((RATE_HZ, np.zeros(2 * RATE_HZ, np.float32)))


def test_bad_input_leaves_the_predictor_working(predictor: Predictor, babble: np.ndarray) -> None:
    before = predictor.predict((RATE_HZ, babble)).probabilities
    with pytest.raises(AudioError):
        predictor.predict("no such file.wav")
    assert predictor.predict((RATE_HZ, babble)).probabilities == before


HEAVY = ("tensorflow", "gradio", "keras", "pandas", "sklearn", "matplotlib", "ser_lab")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ser_core", HEAVY),
        ("ser_core.predictor", HEAVY),
        ("ser_core.cli", HEAVY),
        ("ser_core.web", ("tensorflow", "keras", "sklearn", "matplotlib", "ser_lab")),
    ],
)
def test_importing_loads_nothing_heavy(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("denoise", [False, True])
def test_the_last_stage_of_a_trace_is_the_input_of_the_model(tone: Waveform, denoise: bool) -> None:
    plain = PipelineConfig()
    config = replace(plain, preprocess=replace(plain.preprocess, noise_reduction=denoise))
    trace = trace_pipeline((RATE_HZ, tone), config)
    assert list(trace.stages) == [
        "loaded", "levelled", "trimmed", *(["denoised"] if denoise else [])
    ]  # fmt: skip
    speech = preprocess(tone, config).samples
    np.testing.assert_array_equal([*trace.stages.values()][-1], speech)
    np.testing.assert_array_equal(trace.features, extract_features(speech, config))


def test_each_stage_of_a_trace_does_what_its_name_says(tone: Waveform) -> None:
    stages = trace_pipeline((RATE_HZ, tone), PipelineConfig()).stages
    np.testing.assert_array_equal(stages["loaded"], tone)
    assert len(stages["levelled"]) == len(tone)
    assert abs(stages["levelled"].mean()) < 1e-4
    assert np.abs(stages["levelled"]).max() == pytest.approx(1.0)
    assert 0.9 * RATE_HZ < len(stages["trimmed"]) < 1.3 * RATE_HZ
