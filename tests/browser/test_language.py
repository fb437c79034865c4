"""The page in the language that a browser asks for."""

import pytest
from playwright.sync_api import Browser, expect

from ser_core.web.language import CATALOGUES
from tests.browser.conftest import ANSWER_WITHIN_MS
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

WAIT = {"timeout": ANSWER_WITHIN_MS}
SCREENSHOTS = ROOT / "artifacts" / "screenshots"


@pytest.mark.parametrize(
    ("locale", "language"), [("es-ES", "es"), ("hi-IN", "hi"), ("zh-CN", "zh"), ("fr-FR", "en")]
)
def test_a_visitor_is_met_and_answered_in_his_language(
    browser: Browser, app_url: str, locale: str, language: str
) -> None:
    texts = CATALOGUES[language]
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale=locale)
    page = context.new_page()
    page.goto(app_url)
    expect(page.locator("html")).to_have_attribute("lang", language, **WAIT)
    expect(page.get_by_text(texts["tagline"])).to_be_visible(**WAIT)
    expect(page.get_by_text(texts["empty_heading"])).to_be_visible(**WAIT)
    for tab in ("listen_tab", "live_tab", "batch_tab", "voice_tab", "about_tab"):
        expect(page.get_by_role("tab", name=texts[tab], exact=True)).to_be_visible()
    angry = page.locator("#extras").get_by_text(texts["emotion_angry"])
    expect(angry).to_be_visible(**WAIT)
    page.goto(f"{app_url}?example=angry")
    result = page.locator("#result")
    expect(result).to_contain_text(texts["waveform_heading"], **WAIT)
    expect(result).to_contain_text(texts["emotion_surprised"])
    page.get_by_role("button", name=texts["options"]).click()
    expect(page.get_by_label(texts["model_both"])).to_be_visible()
    page.get_by_role("button", name=texts["see"]).click()
    expect(page.locator("#see-pictures")).to_contain_text(texts["picture_energy"], **WAIT)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"language-{language}.png", full_page=True)
    page.get_by_role("tab", name=texts["about_tab"], exact=True).click()
    expect(page.locator("#about")).to_contain_text(texts["never_heading"])
    context.close()
