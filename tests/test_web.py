"""The page without a browser: words, drawings, and the result of a clip."""

import asyncio
import base64
import json
import logging
import re
import signal
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
from gradio.data_classes import FileData
from gradio.server_messages import CloseStreamMessage
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

import app
from ser_core.config import AudioConfig, PipelineConfig
from ser_core.errors import AudioError
from ser_core.explain import Moment
from ser_core.labels import BY_NAME, EMOTIONS, LABELS
from ser_core.live import LiveAnswer, LiveSession
from ser_core.model.manifest import Certainty, Manifest
from ser_core.paths import built_browser_page
from ser_core.prediction import Analysis, Prediction, Window
from ser_core.quality import QualityWarning
from ser_core.switch import ModelState, ModelSwitch
from ser_core.web import about, cleanup, drawing, listen, live, page, theme, timeline, words
from ser_core.web.connections import EVENTS, FRONTEND, JOIN, PageHead, StreamEnds, WithoutHls
from ser_core.web.language import CATALOGUES, translate, use_language
from ser_core.web.limits import HEADERS
from ser_core.web.segments import Found

RATE_HZ = 16_000
NBSP = "\N{NO-BREAK SPACE}"
MOMENTS = (Moment(1.0, 1.5, 0.12), Moment(1.5, 2.0, -0.03), Moment(2.0, 3.0, 0.0))


def prediction(*, warnings: tuple[QualityWarning, ...] = (), **probabilities: float) -> Prediction:
    """4 s, judged from 1 s to 3 s; emotions that are not named share what is left."""
    n_others = len(LABELS) - len(probabilities)
    rest = (1 - sum(probabilities.values())) / max(n_others, 1)
    return Prediction.from_probabilities(
        [probabilities.get(label, rest) for label in LABELS],
        LABELS,
        duration_s=4.0,
        speech_start_s=1.0,
        speech_end_s=3.0,
        warnings=warnings,
        timings_ms={"total": 42.4},
        model="lstm 1.2.3",
    )


def analysis(answer: Prediction) -> Analysis:
    n_samples = int(answer.duration_s * RATE_HZ)
    t = np.arange(n_samples) / RATE_HZ
    loud = (t >= answer.speech_start_s) & (t < answer.speech_end_s)
    waveform = np.where(loud, 0.5, 0.05) * np.sin(2 * np.pi * 200 * t)
    window = Window(answer.speech_start_s, answer.speech_end_s, answer.probabilities)
    features = np.zeros((1, 1), np.float32)
    return Analysis(waveform.astype(np.float32), RATE_HZ, features, (window,), answer)


def parse(html: str) -> ET.Element:
    """Our HTML is well-formed XML, which catches every tag left open and mark left bare."""
    return ET.fromstring(f"<div>{html}</div>")


def text_of(html: str) -> str:
    return " ".join(" ".join(parse(html).itertext()).split())


class FakeModels:
    """Answers every clip alike; `cannot` is raised instead where it is set."""

    state = ModelState.SETTLED

    config = PipelineConfig()
    manifest = Manifest(
        name="lstm",
        version="1.2.3",
        labels=LABELS,
        columns=(),
        pipeline=config,
        architecture={},
        n_parameters=54_024,
        temperature=1.0,
        corpora=({"title": "A Corpus", "licence": "CC-BY-4.0"},),
        licence="CC-BY-4.0",
        split={"development": [], "test": ["a/1", "a/2"]},
        seed=0,
        commit="",
        metrics={"test": {"uar": 0.61, "n_clips": 240}},
        files={},
    )

    manifests = (manifest,)

    def __init__(self, cannot: Exception | None = None) -> None:
        self.cannot = cannot

    def get(self, _name: str = "auto") -> "FakeModels":
        return self

    def predict(self, _source: object) -> Prediction:
        if self.cannot:
            raise self.cannot
        return prediction(angry=0.71, fearful=0.16)

    def analyse_stepwise(self, _source: str, **_options: Any) -> Iterator[Analysis]:
        if self.cannot:
            raise self.cannot
        yield analysis(prediction(angry=0.71, fearful=0.16))

    model = None


@pytest.fixture(autouse=True)
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "explain", lambda _analysis, _model: MOMENTS)
    monkeypatch.setattr(listen, "find_segments", lambda *_, **__: iter([Found(is_whole=True)]))


def describe(models: FakeModels, clip: str | None, **options: Any) -> str:
    """The last panel that the page shows."""
    return list(listen.describe(models, clip, **options))[-1][0]


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (0.0, "0%"),
        (0.009, "<1%"),
        (0.01, "1%"),
        (0.714, "71%"),
        (0.996, ">99%"),
        (1.0, "100%"),
    ],
)
def test_percent_is_whole_and_never_rounds_doubt_away(probability: float, expected: str) -> None:
    assert words.percent(probability).replace(NBSP, " ") == expected


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (0.0, "0 s"),
        (0.64, "0.6 s"),
        (3.0, "3 s"),
        (9.96, "10 s"),
        (59.6, "1:00 min"),
        (125, "2:05 min"),
    ],
)
def test_seconds_are_as_fine_as_they_matter(duration_s: float, expected: str) -> None:
    assert words.seconds(duration_s).replace(NBSP, " ") == expected


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.3, 1.2, "0.3–1.2 s"),
        (0.6, 70.0, "0:01–1:10 min"),
        (61.0, 67.0, "1:01–1:07 min"),
        (293.2, 293.6, "4:53.2–4:53.6 min"),
        (59.97, 60.5, "1:00.0–1:00.5 min"),
    ],
)
def test_a_stretch_has_two_ends_however_long_the_recording(
    start_s: float, end_s: float, expected: str
) -> None:
    assert words.stretch(start_s, end_s).replace(NBSP, " ") == expected


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ({"angry": 0.92, "fearful": 0.05}, "Clearly angry (92%)."),
        ({"angry": 0.71, "fearful": 0.16}, "Mostly angry (71%), some fear (16%)."),
        ({"disgust": 0.7, "happy": 0.06}, "Mostly disgusted (70%)."),
        ({"happy": 0.38, "sad": 0.13}, "Perhaps happy (38%), some sadness (13%)."),
        ({"calm": 0.31, "neutral": 0.3}, "Perhaps calm (31%), some neutral tone (30%)."),
    ],
)
def test_the_sentence_grows_less_sure_with_the_answer(
    probabilities: dict[str, float], expected: str
) -> None:
    assert words.sentence(prediction(**probabilities)).replace(NBSP, " ") == expected


def test_an_uncertain_answer_names_two_emotions() -> None:
    answer = replace(prediction(calm=0.51, neutral=0.3), certain_from=0.6)
    said = words.sentence(answer).replace(NBSP, " ")
    assert said == "Uncertain: calm (51%) or neutral (30%)."


def test_the_model_tells_when_it_is_uncertain() -> None:
    certainty = Certainty(confidence=0.62, precision=0.8, share=0.7)
    _, points = about.describe_model(replace(FakeModels.manifest, certainty=certainty))
    assert translate("model_certainty", confidence="62%", precision="80%") in points


@given(st.lists(st.floats(0.01, 1.0), min_size=8, max_size=8))
def test_the_sentence_always_names_the_likeliest_emotion_first(weights: list[float]) -> None:
    answer = Prediction.from_probabilities(np.array(weights) / sum(weights), LABELS)
    said = words.sentence(answer)
    named = translate(f"adjective_{answer.emotion}")
    assert said.split(f"{NBSP}(")[0].split()[-1] == named
    assert words.percent(answer.confidence) in said


def test_the_model_tells_its_share_of_right_answers_beside_that_of_guessing() -> None:
    _, points = about.describe_model(FakeModels.manifest)
    assert points[0] == translate(
        "model_measured", percent="61%", clips="240", people=2, chance="12%"
    )
    assert "A Corpus (CC-BY-4.0)" in " ".join(points)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            ModelState.FETCHING,
            "Downloading the accurate model. Until it is ready, the lstm model is used.",
        ),
        (ModelState.OFFLINE, "No network: using the lstm model."),
        (ModelState.FAILED, "The accurate model could not be loaded: using the lstm model."),
        (ModelState.SETTLED, "Using the lstm model."),
    ],
)
def test_the_page_says_which_model_answers_and_why(state: ModelState, expected: str) -> None:
    models = FakeModels()
    models.state = state
    note = parse(page.draw_model_note(models))
    assert "".join(note.itertext()) == expected
    assert note.find(".//*[@role='status']") is not None


def test_the_limits_are_those_of_the_settings() -> None:
    _, points = about.limits(
        AudioConfig(min_duration_s=0.7, max_duration_s=180.0, max_bytes=9_000_000)
    )
    assert "0.7 s to 3 minutes of audio, up to 9 MB" in points[0].replace(NBSP, " ")


def test_bars_carry_sign_word_value_and_colour_in_the_order_of_the_labels() -> None:
    answer = prediction(angry=0.71, fearful=0.16)
    rows = parse(drawing.bars(answer)).findall(".//li")
    for row, emotion, probability in zip(rows, EMOTIONS, answer.probabilities, strict=True):
        assert emotion.sign in "".join(row.itertext())
        assert emotion.name in "".join(row.itertext())
        assert words.percent(probability) in "".join(row.itertext())
        meter = row.find(".//*[@role='meter']")
        assert meter is not None
        assert meter.get("aria-label") == emotion.name
        assert float(meter.get("aria-valuenow", "nan")) == pytest.approx(
            100 * probability, abs=0.05
        )
        assert emotion.colour in meter[0].get("style", "")


def test_only_the_likeliest_bar_stands_out() -> None:
    rows = parse(drawing.bars(prediction(sad=0.6))).findall(".//li")
    assert [row.get("class") for row in rows].index("mm-top") == LABELS.index("sad")
    assert sum(row.get("class") is not None for row in rows) == 1


def test_the_waveform_sets_off_exactly_the_part_that_was_used() -> None:
    figure = parse(timeline.waveform(analysis(prediction(sad=0.6))))
    span, unused, used, _ = figure.find(".//svg")
    assert float(span.get("x")) == pytest.approx(timeline.N_COLUMNS / 4, abs=0.01)
    assert float(span.get("width")) == pytest.approx(timeline.N_COLUMNS / 2, abs=0.01)
    centres = [float(stroke.split()[0]) for stroke in used.get("d").split("M")[1:]]
    assert min(centres) >= timeline.N_COLUMNS / 4
    assert max(centres) <= timeline.N_COLUMNS * 3 / 4
    assert len(centres) + unused.get("d").count("M") == timeline.N_COLUMNS


def test_the_waveform_says_in_words_what_it_shows() -> None:
    figure = parse(timeline.waveform(analysis(prediction(sad=0.6))))
    said = figure.find(".//svg").get("aria-label").replace(NBSP, " ")
    assert said == "Waveform. Analysed: 1–3 s of 4 s."
    axis = figure.find(".//*[@class='mm-axis']")
    assert [tick.text.replace(NBSP, " ") for tick in axis] == [f"{i} s" for i in range(5)]


def test_the_envelope_follows_the_loudness() -> None:
    quiet_then_loud = np.concatenate([np.full(9_000, 0.1), np.full(9_000, -0.4)])
    heights = timeline.envelope(quiet_then_loud.astype(np.float32))
    assert heights.shape == (timeline.N_COLUMNS,)
    np.testing.assert_allclose(heights[: timeline.N_COLUMNS // 2], 0.25, rtol=1e-6)
    np.testing.assert_allclose(heights[timeline.N_COLUMNS // 2 :], 1.0)


def test_the_envelope_of_silence_is_flat() -> None:
    np.testing.assert_array_equal(timeline.envelope(np.zeros(9_000, np.float32)), 0.0)


@given(st.floats(0.5, 600.0))
def test_ticks_are_few_even_and_inside_the_clip(duration_s: float) -> None:
    moments = np.array(timeline.ticks(duration_s))
    assert 3 <= len(moments) <= timeline.MAX_TICKS
    assert moments[0] == 0.0
    assert moments[-1] <= duration_s
    np.testing.assert_allclose(np.diff(moments), moments[1])


def test_warnings_appear_as_their_sentences_and_only_where_there_are_any() -> None:
    noisy = QualityWarning("noisy", "The background is loud. Record in a quieter place.")
    assert noisy.message in text_of(
        listen.draw_result(analysis(prediction(sad=0.6, warnings=(noisy,))))
    )
    assert translate("warnings_heading") not in text_of(
        listen.draw_result(analysis(prediction(sad=0.6)))
    )


def test_an_answer_names_the_model_and_its_time() -> None:
    said = text_of(listen.draw_result(analysis(prediction(sad=0.6))))
    assert translate("answered_in", model="lstm 1.2.3", ms=42) in said
    slow = replace(prediction(sad=0.6), timings_ms={"total": 221_430.0})
    said = drawing.analysed_by(slow).replace(NBSP, " ")
    assert "Analysed by lstm 1.2.3 in 3:41 min." in said


def test_a_failure_is_announced_and_its_message_is_never_markup() -> None:
    html = drawing.failure("<img src=x onerror=alert(1)>.wav is no audio.")
    alert = parse(html).find(".//*[@role='alert']")
    assert "<img src=x" in "".join(alert.itertext())
    assert alert.find(".//img") is None


def test_the_empty_page_names_all_emotions_and_claims_nothing() -> None:
    html = drawing.empty()
    assert all(emotion.name in text_of(html) for emotion in EMOTIONS)
    assert parse(html).find(".//*[@role='meter']") is None
    assert "%" not in text_of(html)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "clip.wav"
    path.touch()
    return str(path)


def test_a_clip_that_cannot_be_judged_is_explained_and_the_next_one_answered(clip: str) -> None:
    fake = FakeModels(cannot=AudioError("clip.wav lasts only 0.1 s."))
    assert "clip.wav lasts only 0.1 s." in text_of(describe(fake, clip))
    fake.cannot = None
    assert "Mostly angry" in text_of(describe(fake, clip))


def test_a_bug_becomes_an_apology_on_the_page_and_a_trace_in_the_log(
    clip: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        html = describe(FakeModels(cannot=RuntimeError("inner secret")), clip)
    assert translate("apology") in text_of(html)
    assert "inner secret" not in html
    assert "inner secret" in caplog.text


def test_without_a_clip_the_page_says_what_to_do() -> None:
    assert translate("no_clip") in text_of(describe(FakeModels(), None))


def test_a_clip_deleted_meanwhile_is_asked_for_again(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.wav")
    assert translate("clip_gone") in text_of(describe(FakeModels(), gone))


def test_examples_come_in_the_order_of_the_labels(tmp_path: Path) -> None:
    for name in (
        "synthetic-sad.flac",
        "synthetic-calm.wav",
        "synthetic-calm-to-sad.flac",
        "sad.wav",
    ):
        (tmp_path / name).touch()
    assert listen.find_examples(tmp_path) == [
        (tmp_path / "synthetic-calm.wav", f"{BY_NAME['calm'].sign} calm"),
        (tmp_path / "synthetic-sad.flac", f"{BY_NAME['sad'].sign} sad"),
    ]


@pytest.mark.parametrize("language", CATALOGUES)
def test_the_answer_to_an_example_says_what_it_was_meant_as(tmp_path: Path, language: str) -> None:
    example = tmp_path / "synthetic-happy.flac"
    example.touch()
    meant = listen.example_emotion(str(example), tmp_path)
    assert meant == "happy"
    assert listen.example_emotion(str(example), tmp_path / "elsewhere") is None
    assert listen.example_emotion(None, tmp_path) is None
    with use_language(language):
        said = translate("example_meant", emotion=words.emotion("happy"))
        told = text_of(describe(FakeModels(), str(example), meant=meant))
        assert f"{said} {translate('answer_eyebrow')}" in told
        both = text_of(listen.draw_comparison([(analysis(prediction()), (), ())], meant=meant))
        assert both.startswith(f"{said} ")
        assert said not in text_of(describe(FakeModels(), str(example)))


@pytest.mark.parametrize(
    ("chosen", "asked"),
    [("auto", "auto"), ("accurate", "accurate"), ("compact", "compact"), ("both", "auto")],
)
def test_step_by_step_follows_the_model_that_was_chosen(
    clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, asked: str
) -> None:
    picked: list[str] = []

    def get(name: str = "auto") -> FakeModels:
        picked.append(name)
        raise AudioError("Enough.")

    models = FakeModels()
    monkeypatch.setattr(models, "get", get)
    blocks = page.build_page(models, examples=tmp_path)
    (event,) = [
        fn
        for fn in blocks.fns.values()
        if any(getattr(one, "elem_id", "") == "steps-stages" for one in fn.outputs)
        and fn.targets[0][1] == "expand"
    ]
    values = {"clip": clip, "model-choice": chosen}
    event.fn(None, *[values.get(one.elem_id, False) for one in event.inputs])
    assert picked == [asked]


def test_gradio_decodes_nothing(tmp_path: Path) -> None:
    blocks = page.build_page(FakeModels(), examples=tmp_path)
    media = [one for one in blocks.blocks.values() if isinstance(one, DECODING)]
    assert len(media) >= 4
    for component in media:
        assert isinstance(component, gr.Audio)
        assert (component.type, component.format) == ("filepath", None)
        assert component.preprocess(FileData(path="/no/such.mp3")) == "/no/such.mp3"
    # Gradio probes what it shows with ffprobe.
    on_the_server = [event for event in blocks.fns.values() if event.fn]
    shown = {one for event in on_the_server for one in event.outputs if isinstance(one, DECODING)}
    assert all(one.elem_id == "clip" for one in shown)


def test_the_page_offers_its_endpoints_and_reports_to_nobody(tmp_path: Path) -> None:
    blocks = page.build_page(FakeModels(), examples=tmp_path)
    endpoints = blocks.get_api_info()
    assert list(endpoints["named_endpoints"]) == [
        "/predict",
        "/timeline",
        "/explain",
        "/compare",
        "/batch",
    ]
    assert endpoints["unnamed_endpoints"] == {}
    assert blocks.analytics_enabled is False


def test_the_promise_on_deletion_is_kept_by_the_cleanup() -> None:
    _, (promise,) = about.privacy()
    minutes = re.search(r"no later than (\d+) minutes", promise)
    assert minutes is not None
    assert 60 * int(minutes[1]) >= cleanup.CLIP_LIFE_S + 2 * cleanup.CLEANUP_EVERY_S


def test_the_launch_refuses_files_that_the_settings_refuse(tmp_path: Path) -> None:
    options = page.launch_options(FakeModels(), clips=tmp_path)
    assert options["max_file_size"] == AudioConfig().max_bytes


def test_the_app_says_in_one_line_why_it_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOODMIRROR_MODEL", str(tmp_path))
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    with pytest.raises(SystemExit, match="2"):
        app.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("MoodMirror cannot start. ")
    assert "manifest.json" in line


def test_a_signal_while_the_page_starts_ends_it_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed: list[bool] = []

    class FakePage:
        def close(self, *, verbose: bool) -> None:
            closed.append(verbose)

    def start(_models: ModelSwitch, _folder: Path) -> FakePage:
        signal.raise_signal(signal.SIGTERM)
        return FakePage()

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(page, "start", start)
    monkeypatch.setattr(page, "check_port", lambda: None)
    monkeypatch.setattr(page.ModelSwitch, "open", lambda *_, **__: FakeModels())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        page.serve()
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert closed == [False]


def long_analysis() -> Analysis:
    """12 s in four windows: calm, calm, angry, sad."""
    base = analysis(replace(prediction(calm=0.4, angry=0.3), duration_s=12.0, speech_end_s=12.0))
    tops = [("calm", 0.9), ("calm", 0.6), ("angry", 0.8), ("sad", 0.7)]
    windows = tuple(
        Window(start_s, start_s + 6.0, prediction(**{label: p}).probabilities)
        for start_s, (label, p) in zip((1.0, 3.0, 5.0, 6.0), tops, strict=True)
    )
    return replace(base, windows=windows)


def test_the_lane_shows_moments_for_and_against_and_says_which_spoke_loudest() -> None:
    html = timeline.lane(MOMENTS, prediction(angry=0.7))
    cells = parse(html).findall(".//div[@class='mm-lane']/span")
    assert [cell.get("class") for cell in cells] == [
        f"{kind} mm-plays" for kind in ("mm-for", "mm-against", "mm-for")
    ]
    assert cells[0].get("style") == "--from:1;--to:1.5;"
    strongest = translate("moment_strongest", stretch="1–1.5 s", emotion="angry", points=12)
    assert strongest in text_of(html).replace(NBSP, " ")


def test_no_moment_is_singled_out_where_none_matters() -> None:
    flat = [replace(moment, weight=0.001) for moment in MOMENTS]
    assert translate("moment_none", emotion="angry") in text_of(
        timeline.lane(flat, prediction(angry=0.7))
    )
    assert timeline.lane((), prediction(angry=0.7)) == ""


def test_a_short_clip_has_no_course_and_a_long_one_tells_it() -> None:
    short = analysis(prediction(angry=0.7))
    assert timeline.timeline(short) == timeline.passages(short) == ""
    assert "How it went" in text_of(timeline.timeline(long_analysis(), text="How it went"))
    rows = parse(timeline.timeline(long_analysis())).findall(".//span[@class='mm-heat']")
    assert [len(row) for row in rows] == [4] * len(LABELS)


def test_passages_are_the_surest_windows_apart_and_can_be_heard() -> None:
    assert [w.start_s for w in timeline.clearest(long_analysis().windows)] == [1.0]
    apart = [replace(w, end_s=w.start_s + 2.0) for w in long_analysis().windows]
    assert [w.start_s for w in timeline.clearest(apart)] == [1.0, 3.0, 5.0]
    (player,) = parse(timeline.passages(long_analysis())).findall(".//button")
    assert player.get("style") == "--from:1;--to:7;"


def test_a_bar_plays_the_window_where_its_emotion_is_clearest() -> None:
    html = listen.draw_result(long_analysis(), MOMENTS)
    assert parse(html)[0].get("style") == "--duration:12.000"
    rows = parse(html).findall(".//ul[@class='mm-bars']/li")
    places = {row.findtext("span[@class='mm-label']"): row.get("style") for row in rows}
    assert places["angry"] == "--from:5;--to:11;"
    assert places["sad"] == "--from:6;--to:12;"


def test_moments_of_a_long_clip_have_a_scale_of_their_own() -> None:
    close, _ = parse(timeline.lane(MOMENTS, long_analysis().prediction))
    assert close.get("style") == "--start:1;--duration:2.000"
    assert [tick.get("style") for tick in close[1]] == [
        f"--from:{tick_s:g}" for tick_s in (1, 1.5, 2, 2.5, 3)
    ]


def test_an_axis_that_is_zoomed_has_more_labels() -> None:
    labels = parse(timeline.timeline(long_analysis(), text="")).findall(".//*[@class='mm-axis']/")
    kinds = [label.get("class") for label in labels]
    assert kinds.count("mm-fine-0") <= timeline.MAX_TICKS
    assert kinds.count("mm-fine-2") > kinds.count("mm-fine-1") > 0


def test_a_clip_whose_emotion_changes_is_mixed_with_its_course() -> None:
    parts = [
        Window(1.0, 2.0, prediction(happy=0.8).probabilities),
        Window(2.0, 3.0, prediction(angry=0.7).probabilities),
    ]
    html = listen.draw_result(analysis(prediction(happy=0.5)), MOMENTS, parts)
    told = text_of(html).replace(NBSP, " ")
    signs = f"{BY_NAME['happy'].sign} {BY_NAME['angry'].sign}"
    assert f"{signs} Mixed: happy from 1 s, then angry from 2 s." in told
    assert "As a whole: Mostly happy" in told
    buttons = parse(html).findall(".//ul[@class='mm-passages']/li/button")
    assert [button.get("style") for button in buttons] == ["--from:1;--to:2;", "--from:2;--to:3;"]
    alone = listen.draw_result(analysis(prediction(happy=0.5)), MOMENTS, parts[:1])
    assert "Mixed" not in text_of(alone)


class SlowModels(FakeModels):
    """Analyses a long clip window by window."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.stopped = Event()
        self.stop_at = stop_at

    def analyse_stepwise(self, _source: str, **_options: Any) -> Iterator[Analysis]:
        whole = long_analysis()
        for n in range(1, 5):
            if n == self.stop_at:
                self.stopped.set()
            part = replace(whole.prediction, speech_end_s=whole.windows[n - 1].end_s)
            yield replace(whole, windows=whole.windows[:n], prediction=part, is_whole=n == 4)


def test_a_step_tells_the_time_that_is_left_once_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = iter([0.0, 10.0, 20.0, 110.0, 120.0, 130.0])
    monkeypatch.setattr(listen.time, "monotonic", lambda: next(now_s))
    clock = listen._Clock()
    assert clock.left_s(0.1) is None
    assert clock.left_s(0.2) == pytest.approx(80.0)
    assert clock.left_s(1.0) == 0.0
    assert clock.left_s(0.01) is None  # the next step
    assert clock.left_s(0.51) == pytest.approx(10.0 * 0.49 / 0.5)
    told = text_of(listen.draw_growing(long_analysis(), left_s=80.0)).replace(NBSP, " ")
    assert "About 1:20 min left." in told


def test_the_axis_of_an_hour_has_few_labels_that_stay_within_it() -> None:
    labels = parse(timeline._axis(3_600.0)).findall(".//span")
    assert [label.text.replace(NBSP, " ") for label in labels] == [
        "0 s", "20:00 min", "40:00 min", "60:00 min"
    ]  # fmt: skip
    assert ["mm-last" in label.get("class") for label in labels] == [False, False, False, True]


def test_the_result_of_a_long_clip_grows_with_the_progress(
    clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "SHOWN_EVERY_S", 0.0)
    monkeypatch.setattr(listen, "SHOWN_SHARE", 0.0)
    *growing, last = (html for html, _ in listen.describe(SlowModels(), clip))
    cells = [parse(html).findall(".//span[@class='mm-heat']/span") for html in growing]
    assert [len(row) for row in cells] == [n * len(LABELS) for n in (1, 2, 3)]
    bars = [parse(html).find(".//*[@role='progressbar']") for html in growing]
    assert [bar.get("aria-valuenow") for bar in bars] == ["7", "9", "11"]
    assert all(parse(html)[0].get("aria-busy") == "true" for html in growing)
    assert "aria-busy" not in last
    assert translate("stop") not in text_of(last)


def test_the_list_of_a_long_clip_grows_and_a_short_one_comes_at_once(
    clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [Found(step="emotions", share=0.5), Found(is_whole=True)]
    monkeypatch.setattr(listen, "find_segments", lambda *_, **__: iter(states))
    monkeypatch.setattr(listen, "SHOWN_EVERY_S", 0.0)
    monkeypatch.setattr(listen, "SHOWN_SHARE", 0.0)
    told = translate("growing_segments", n=0)
    assert sum(told in text_of(html) for html, _ in listen.describe(SlowModels(), clip)) == 1
    assert len(list(listen.describe(FakeModels(), clip))) == 1


def test_an_analysis_that_is_stopped_keeps_what_is_done(clip: str) -> None:
    models = SlowModels(stop_at=2)
    ((html, kept),) = listen.describe(models, clip, stopped=models.stopped)
    told = text_of(html).replace(NBSP, " ")
    assert translate("stopped", done="9 s", all="12 s") in told
    assert kept is not None
    assert len(parse(html).findall(".//span[@class='mm-heat']/span")) == 2 * len(LABELS)


def test_the_answer_can_be_taken_home() -> None:
    links = parse(listen.draw_result(long_analysis(), MOMENTS)).findall(".//a")
    files = {
        link.get("download"): base64.b64decode((link.get("href") or "").split(",")[1]).decode()
        for link in links
    }
    answer = json.loads(files["moodmirror.json"])
    assert answer["probabilities"]["calm"] == 0.4
    assert answer["timeline"]["start_s"] == [1.0, 3.0, 5.0, 6.0]
    assert answer["moments"][0] == [1.0, 1.5, 0.12]
    header, *rows = files["moodmirror.csv"].splitlines()
    assert header == "start_s,end_s,intensity," + ",".join(LABELS)
    assert len(rows) == 4


DECODING = (gr.Audio, gr.Video, gr.Image, gr.ImageEditor, gr.Gallery)


def spoken(at_s: float, **probabilities: float) -> LiveAnswer:
    return LiveAnswer(at_s, prediction(**probabilities))


def strokes(html: str) -> list[str | None]:
    (history,) = parse(html).findall(".//div[@class='mm-history']")
    return [stroke.get("title") for stroke in history]


def test_live_shows_what_has_settled_and_the_last_half_minute() -> None:
    answers = [spoken(1.0, sad=0.9), LiveAnswer(40.0, None), spoken(41.0, angry=0.9)]
    html = live.draw_session(LiveSession(answers=answers, settled="sad"))
    assert "Mostly sad. " in text_of(html)
    assert strokes(html) == ["angry"]
    assert "clearly" not in html.lower()
    silence = live.draw_session(LiveSession(answers=answers[:2]))
    assert "Listening" in text_of(silence)
    meters = parse(silence).findall(".//span[@role='meter']")
    assert [meter.get("aria-valuenow") for meter in meters] == ["0.0"] * len(LABELS)


def test_live_sums_a_session_up() -> None:
    answers = [spoken(1.0, sad=0.9), spoken(2.0, sad=0.7), spoken(43.0, calm=0.8)]
    html = live.summary(LiveSession(answers=answers, received_s=43.0))
    assert "Mostly sad (" in text_of(html).replace(NBSP, " ")
    assert strokes(html) == ["sad", "sad", "calm"]
    assert len(parse(html).findall(".//a")) == 2
    assert translate("live_nothing") in text_of(live.summary(LiveSession()))
    assert translate("live_nothing") in text_of(live.summary(None))


def test_live_counts_lost_sound() -> None:
    answers = [replace(spoken(1.0, sad=0.9), lag_s=0.2), replace(spoken(9.0, sad=0.9), lag_s=3.2)]
    for draw in (live.draw_session, live.summary):
        html = draw(LiveSession(answers=answers, received_s=9.0))
        assert translate("live_lost", duration="3 s") in text_of(html)


def test_live_answers_a_bad_chunk_and_a_bug_with_a_sentence(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    chunk = str(tmp_path / "chunk.wav")
    soundfile.write(chunk, np.full(RATE_HZ, 0.5), RATE_HZ)
    refused = live.process(FakeModels(AudioError("Too odd.")), LiveSession(), chunk)
    assert "Too odd." in text_of(refused)
    with caplog.at_level(logging.ERROR):
        broken = live.process(FakeModels(RuntimeError("oops")), LiveSession(), chunk)
    assert translate("apology") in text_of(broken)
    assert "oops" in caplog.text


async def gradio(scope: Scope, receive: Receive, send: Send) -> None:
    """A page with a tag of Gradio's own."""
    html = (
        '<html><head><meta\nproperty="og:url" content="https://gradio.app/" /><script></script>'
        '</head><body style="a"><p></p></body></html>'
    )
    await HTMLResponse(html)(scope, receive, send)


def test_head_and_body_start_with_our_elements_instead_of_gradios_tags() -> None:
    client = TestClient(PageHead(gradio, lambda address: (f"<i>ü {address}</i>", "<b></b>")))
    assert client.get("/?a=1").text == (
        "<html><head><i>ü http://testserver/</i><script></script></head>"
        '<body style="a"><b></b><p></p></body></html>'
    )
    assert "gradio.app" in client.get("/config").text


def test_the_preview_of_a_link_has_the_true_address_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw(address: str) -> tuple[str, str]:
        return theme.social_card("A", "b", address), ""

    client = TestClient(PageHead(gradio, draw))
    html = client.get("/?lang=es", headers={"host": "mood.example:8000"}).text
    assert '<link rel="canonical" href="http://mood.example:8000/">' in html
    assert 'property="og:url" content="http://mood.example:8000/"' in html
    (picture,) = re.findall('og:image" content="http://mood.example:8000(.*?)"', html)
    assert Path(picture.removeprefix("/gradio_api/file=")).is_file()
    odd = client.get("/", headers={"host": 'a"><script>'}).text
    assert "canonical" not in odd
    assert "og:url" not in odd
    monkeypatch.setenv("SPACE_HOST", "owner-name.hf.space")
    html = client.get("/", headers={"host": "10.0.0.1"}).text
    assert '<link rel="canonical" href="https://owner-name.hf.space/">' in html


def test_hls_is_a_class_that_supports_nothing_under_the_names_of_the_true_one() -> None:
    (script,) = FRONTEND.glob("hls-*.js")
    client = TestClient(WithoutHls(gradio))
    stub = client.get(f"/assets/{script.name}").text
    assert len(stub) < 200
    names = re.search(r"export{([^}]*)};?\s*$", script.read_text(encoding="utf-8"))
    assert names is not None
    exports = [f"Hls as {name.split(' as ')[1]}" for name in names[1].split(",")]
    assert stub.endswith(f"export{{{','.join(exports)}}};")
    assert "gradio.app" in client.get("/assets/hls-other.js").text


def test_no_reply_to_an_event_overtakes_the_end_of_its_page_s_stream() -> None:
    sent: list[str] = []
    ends = asyncio.Event()

    async def reply(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        end = json.dumps(CloseStreamMessage().model_dump(), separators=(",", ":"))  # as Gradio's
        body = f"data: {end}\n\n" if scope["path"] == EVENTS else "{}"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.encode()})

    streams = StreamEnds(reply)

    async def request(name: str, path: str, session: str, *, is_slow: bool = False) -> None:
        query = f"session_hash={session}" if path == EVENTS else ""
        body = f'{{"data": [], "session_hash": "{session}"}}'

        async def receive() -> Message:
            return {"type": "http.request", "body": body.encode(), "more_body": False}

        async def send(message: Message) -> None:
            if is_slow and message["type"] == "http.response.body":
                ends.set()
                await asyncio.sleep(0.2)
            sent.append(name)

        scope = {"type": "http", "path": path, "query_string": query.encode()}
        await streams(scope, receive, send)

    async def overtake() -> None:
        ending = asyncio.create_task(request("end", EVENTS, "one", is_slow=True))
        await ends.wait()
        mine = asyncio.create_task(request("mine", JOIN, "one"))
        await request("other", JOIN, "two")
        await asyncio.gather(ending, mine)
        await request("later", JOIN, "one")

    asyncio.run(overtake())
    assert sent == ["end", "other", "other", "end", "mine", "mine", "later", "later"]


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_visitor_can_record_before_gradio_is_there(tmp_path: Path, language: str) -> None:
    options = page.launch_options(FakeModels(), clips=tmp_path)
    (head,) = [one for one in options["app_kwargs"]["middleware"] if one.cls is PageHead]
    client = TestClient(head.cls(gradio, **head.kwargs))
    html = client.get("/", headers={"accept-language": language}).text
    with use_language(language):
        assert f">{translate('early_record')}</button>" in html


def test_about_links_to_the_page_of_the_browser_where_it_is_built(tmp_path: Path) -> None:
    assert built_browser_page(tmp_path) is None
    (without,) = about_tabs(page.build_page(FakeModels(), examples=tmp_path))
    built = tmp_path / "browser" / "dist"
    built.mkdir(parents=True)
    (built / "index.html").touch()
    (with_page,) = about_tabs(page.build_page(FakeModels(), examples=tmp_path))
    assert '"device/"' not in without
    assert '"device/"' in with_page
    for language in CATALOGUES:
        with use_language(language):
            html = about.draw_about(FakeModels(), has_device_page=True)
            links = {link.get("href"): link.text for link in parse(html).iter("a")}
            assert links["device/"] == translate("device_link")
            assert translate("device") in text_of(html)


def about_tabs(blocks: gr.Blocks) -> list[str]:
    return [block.value for block in blocks.blocks.values() if block.elem_id == "about"]


def test_the_page_of_the_browser_is_served_where_it_is_built(tmp_path: Path) -> None:
    kinds = {
        "index.html": "text/html", "page.js": "javascript", "ort.mjs": "javascript",
        "ort.wasm": "application/wasm", "model.onnx": "",
    }  # fmt: skip
    for name in kinds:
        (tmp_path / name).write_text(name)
    for device_page, status in ((None, 404), (tmp_path, 200)):
        options = page.launch_options(FakeModels(), clips=tmp_path, device_page=device_page)
        served = {key: options["app_kwargs"][key] for key in ("routes", "middleware")}
        client = TestClient(Starlette(**served))
        assert client.get("/device").status_code == status  # with a redirect to /device/
        for name, kind in kinds.items():
            response = client.get(f"/device/{name}")
            assert response.status_code == status
            assert (
                dict(response.headers).items() >= {k.lower(): HEADERS[k] for k in HEADERS}.items()
            )
            if device_page is not None:
                assert response.text == name
                assert kind in response.headers["content-type"]
    assert client.get("/device/").text == "index.html"
    assert client.get("/device/..%2f..%2fetc/passwd").status_code == 404
