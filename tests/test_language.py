"""The page's texts in every language."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from ser_core.audio.load import load_audio
from ser_core.audio.stream import CUT_OFF
from ser_core.config import PipelineConfig
from ser_core.errors import SerError
from ser_core.labels import LABELS
from ser_core.plots import PICTURES
from ser_core.prediction import Prediction
from ser_core.preprocess import preprocess
from ser_core.quality import QualityWarning
from ser_core.switch import ModelState
from ser_core.web import words
from ser_core.web.components import error_message
from ser_core.web.inspect import caption
from ser_core.web.language import (
    CATALOGUES,
    label,
    requested_language,
    translate,
    translated,
    use_language,
)
from ser_core.web.segments import CUTS, SPEAKERS
from tests.conftest import ROOT
from tests.test_web import NBSP

WEB = ROOT / "ser_core" / "web"
ENGLISH = CATALOGUES["en"]


class Request:
    """What a handler reads of Gradio's request."""

    def __init__(self, languages: str, *, chosen: str = "", page: str = "") -> None:
        self.headers = {"accept-language": languages, "referer": page}
        self.query_params = {"lang": chosen} if chosen else {}


def keys_in_code() -> set[str]:
    """Keys that the page's modules name outright."""
    calls = [
        node
        for path in WEB.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    return {
        call.args[0].value
        for call in calls
        if call.func.id in ("translate", "label") and isinstance(call.args[0], ast.Constant)
    }


def test_four_languages_are_spoken() -> None:
    assert set(CATALOGUES) == {"en", "es", "hi", "zh"}


@pytest.mark.parametrize("language", CATALOGUES)
def test_catalogues_hold_the_same_texts_with_the_same_placeholders(language: str) -> None:
    catalogue = CATALOGUES[language]
    assert list(catalogue) == list(ENGLISH)
    for key, text in catalogue.items():
        assert text.strip(), key
        # Reasons of Python's own are in English, and so in no other language.
        expected = ENGLISH[key] if language == "en" else ENGLISH[key].replace("{reason}", "")
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", expected)), key


def test_every_text_that_is_said_is_there() -> None:
    assert keys_in_code() <= set(ENGLISH)
    for name in LABELS:
        for kind in ("emotion", "adjective", "noun"):
            assert f"{kind}_{name}" in ENGLISH
    for code in get_args(get_type_hints(QualityWarning)["code"]):
        assert {f"warning_{code}", f"fault_{code}"} <= set(ENGLISH)
    for kind, choices in (("cut", CUTS), ("speakers", SPEAKERS), ("segments", (*CUTS, "own"))):
        assert {f"{kind}_{name}" for name in choices if not name.isdecimal()} <= set(ENGLISH)
    for state in ModelState:
        assert f"note_{state.name.lower()}" in ENGLISH
    for picture in (*PICTURES, "features"):
        assert all(caption("picture", picture))
    for stage in ("loaded", "levelled", "trimmed", "denoised"):
        assert all(caption("stage", stage))


@pytest.mark.parametrize(
    ("languages", "spoken"),
    [
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("zh-CN", "zh"),
        ("HI", "hi"),
        ("fr-FR,fr;q=0.9,hi;q=0.5", "hi"),
        ("fr", "en"),
        ("", "en"),
    ],
)
def test_the_first_language_asked_for_that_is_known_is_spoken(languages: str, spoken: str) -> None:
    assert requested_language(Request(languages)) == spoken


def test_the_language_in_the_address_comes_before_the_browsers() -> None:
    assert requested_language(Request("hi", chosen="zh-CN")) == "zh"
    assert requested_language(Request("hi", page="https://a.b/?model=compact&lang=es")) == "es"
    assert requested_language(Request("hi", chosen="fr")) == "hi"


def test_nobody_who_asks_hears_english() -> None:
    assert requested_language(None) == "en"


def test_an_answer_is_said_in_each_language() -> None:
    answer = Prediction.from_probabilities([0.0, 0, 0, 0, 0.71, 0.29, 0, 0], LABELS)
    said = {}
    for language in CATALOGUES:
        with use_language(language):
            said[language] = words.sentence(answer).replace(NBSP, " ")
    assert said == {
        "en": "Mostly angry (71%), some fear (29%).",
        "es": "Sobre todo enfadada (71 %), con algo de miedo (29 %).",
        "hi": "ज़्यादातर ग़ुस्से भरी (71%), साथ में कुछ डर (29%)।",
        "zh": "主要是愤怒（71%），带一点恐惧（29%）。",
    }
    assert translate("analyse") == "Analyse"


def messages_of(name: str) -> set[str]:
    """Messages that a module raises, with 7 in place of each value that is no constant text."""
    module = importlib.import_module(name)
    source = ast.parse(inspect.getsource(module))
    found = set()
    for node in ast.walk(source):
        is_error = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if not is_error or node.func.id not in PAGE_ERRORS or not node.args:
            continue
        parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else node.args
        texts = [
            part.value if isinstance(part, ast.Constant) else _text_of(module, part)
            for part in parts
        ]
        found.add("".join(texts))
    return found


def _text_of(module: ModuleType, part: ast.expr) -> str:
    name = part.value.id if isinstance(getattr(part, "value", None), ast.Name) else ""
    constant = getattr(module, name, None) if name.strip("_").isupper() else None
    return constant if isinstance(constant, str) else "7"


PAGE_ERRORS = ("AudioError", "NoSpeechError", "BatchError", "SpeakerError")
MODULES = ("audio.decode", "audio.stream", "preprocess", "batch", "speaker")
IN_PARTS = {
    "7 7",
    "We heard only silence: 7; at least 7 dBFS is needed. Check your microphone and speak up.",
    "This voice profile is for the model 7, but 7 answered. 7 a new profile.",
}
"""Messages of several texts, which tests of their own cover."""
NOT_OF_THE_PAGE = {"7 is not one of 7."}
"""A correction, which the page's choices cannot hold."""


@pytest.mark.parametrize("name", MODULES)
def test_each_error_that_reaches_the_page_is_in_every_language(name: str) -> None:
    messages = messages_of(f"ser_core.{name}")
    assert messages
    for message in messages - IN_PARTS - NOT_OF_THE_PAGE:
        assert any(pattern.fullmatch(message) for pattern in words.ERRORS.values()), message
        assert words.error(message) == message or "and 7" in message
        for language in set(CATALOGUES) - {"en"}:
            with use_language(language):
                assert words.error(message) != message


def samples(kind: str) -> np.ndarray:
    """A recording with a fault, at 16 kHz."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    return {
        "silent": 1e-5 * noise,
        "empty": 0 * noise,
        "click": np.where(np.arange(16_000) < 800, noise, 0),
        "short": noise[:800],
        "NaN": np.where(np.arange(16_000) == 9, np.nan, noise),
    }[kind]


@pytest.mark.parametrize("kind", ["silent", "empty", "click", "short", "NaN"])
def test_a_refused_recording_is_explained_in_every_language(kind: str) -> None:
    config = PipelineConfig()
    with pytest.raises(SerError) as refused:
        preprocess(load_audio((16_000, samples(kind)), config.audio), config)
    told = {language: translated_error(refused.value, language) for language in CATALOGUES}
    assert told["en"] == str(refused.value)
    assert len(set(told.values())) == 4


def translated_error(error: SerError, language: str) -> str:
    with use_language(language):
        return error_message(error)


def test_a_cut_off_file_and_another_models_profile_are_explained_in_spanish() -> None:
    with use_language("es"):
        assert words.error(f"a.wav {CUT_OFF}").startswith("a.wav está cortada")
        for remedy, other in (("Make", "another build of it"), ("Choose that model, or make", "b")):
            message = f"This voice profile is for the model compact, but {other} answered. "
            assert "del modelo compacto" in words.error(f"{message}{remedy} a new profile.")
        assert words.error("1.5.wav lasts only 0.31 s; at least 0.5 s is needed. Make a longer "
                           "recording.").startswith("1.5.wav dura solo 0,31 s")  # fmt: skip
        assert words.error("Something else.") == "Something else."


@pytest.mark.parametrize(
    ("language", "whole", "part"),
    [
        ("en", "8,212,345", "0.053"),
        ("es", "8.212.345", "0,053"),
        ("hi", "82,12,345", "0.053"),
        ("zh", "8,212,345", "0.053"),
    ],
)
def test_numbers_have_the_separators_of_the_language(language: str, whole: str, part: str) -> None:
    with use_language(language):
        assert words.number(8_212_345) == whole
        assert words.number(0.0529, 3) == part
        assert words.number(212) == "212"
        mark = translate("decimal_point")
        assert f"0{mark}6" in words.seconds(0.6)
        assert f"0{mark}3–1{mark}2" in words.stretch(0.3, 1.2)


def test_models_have_a_name_in_each_language() -> None:
    names = set()
    for language in CATALOGUES:
        with use_language(language):
            names.add(words.model("accurate"))
            assert words.model("accurate 0.1.0") == f"{words.model('accurate')} 0.1.0"
            assert words.model("my model") == "my model"
    assert len(names) == 4
    assert "accurate" in names


def test_handlers_speak_the_visitors_language_step_by_step() -> None:
    def once(name: str) -> str:
        return f"{name}: {translate('analyse')}"

    def steps(name: str, request: Any) -> Iterator[str]:
        for _ in range(2):
            yield f"{name}: {translate('analyse')} ({request.headers['accept-language']})"

    assert translated(once)(Request("es"), "a") == "a: Analizar"
    heard = []
    for step in translated(steps)(Request("zh"), "b"):
        heard += [step, translate("analyse")]
    assert heard == ["b: 分析 (zh)", "Analyse"] * 2


def test_labels_are_left_to_gradio() -> None:
    assert label("analyse").key == "analyse"


def test_catalogues_are_part_of_the_package() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"languages/*.json"' in settings
    assert {Path(f"{name}.json").name for name in CATALOGUES} == {
        path.name for path in (WEB / "languages").iterdir()
    }
