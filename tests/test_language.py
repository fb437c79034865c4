"""The page's texts in every language."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from ser_core.labels import LABELS
from ser_core.plots import PICTURES
from ser_core.prediction import Prediction
from ser_core.quality import QualityWarning
from ser_core.switch import ModelState
from ser_core.web import words
from ser_core.web.inspect import caption
from ser_core.web.language import (
    CATALOGUES,
    label,
    requested_language,
    translate,
    translated,
    use_language,
)
from tests.conftest import ROOT
from tests.test_web import NBSP

WEB = ROOT / "ser_core" / "web"
ENGLISH = CATALOGUES["en"]


class Request:
    """What a handler reads of Gradio's request."""

    def __init__(self, languages: str) -> None:
        self.headers = {"accept-language": languages}


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
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", ENGLISH[key])), key


def test_every_text_that_is_said_is_there() -> None:
    assert keys_in_code() <= set(ENGLISH)
    for name in LABELS:
        for kind in ("emotion", "adjective", "noun"):
            assert f"{kind}_{name}" in ENGLISH
    for code in get_args(get_type_hints(QualityWarning)["code"]):
        assert f"warning_{code}" in ENGLISH
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
