"""The overlay of `live` in Chromium, as OBS shows it."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from ser_core.labels import LABELS
from ser_core.live import LiveAnswer
from ser_core.prediction import Prediction
from ser_core.web.overlay import serve_overlay

pytestmark = pytest.mark.browser


def test_the_overlay_is_transparent_but_for_the_emotion(browser: Browser) -> None:
    row = [0.65 if label == "happy" else 0.05 for label in LABELS]
    happy = LiveAnswer(1.0, Prediction.from_probabilities(row, LABELS), settled="happy")

    def picture() -> np.ndarray:
        shot = page.screenshot(omit_background=True)
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGBA"))

    with serve_overlay(0) as overlay:
        page = browser.new_page(viewport={"width": 480, "height": 160}, reduced_motion="reduce")
        page.goto(overlay.url)
        page.locator("#mood:not(.shown)").wait_for(state="attached")
        assert picture()[..., 3].max() == 0
        overlay.show(happy)
        page.locator("#mood.shown").wait_for()
        assert page.locator("#name").inner_text().lower() == "happy"
        assert page.locator("#bar").evaluate("bar => bar.style.width") == "65%"
        alpha = picture()[..., 3]
        assert alpha.max() == 255
        assert (alpha == 0).mean() > 0.5
        overlay.show(LiveAnswer(2.0, None, settled="happy"))
        page.locator("#mood:not(.shown)").wait_for(state="attached")
    page.close()
