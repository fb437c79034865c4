"""Take the pictures of the page that the README and the social card show.

Run from the repository's root, with the extra `dev` and Debian's Chromium:

    python docs/pictures/take.py

The page is the one that this machine serves, so the accurate model answers where its encoder
is available.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ser_core.web.language import translate  # noqa: E402
from tests.browser.conftest import run_app  # noqa: E402

HERE = Path(__file__).parent
CARD = ROOT / "ser_core" / "web" / "card.png"
WAIT = {"timeout": 60_000}
N_COLOURS = 200


def main() -> None:
    """Start the app, look at it, and write the pictures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        run_app([str(ROOT / "app.py")], Path(folder) / "log.txt") as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless=new", "--no-sandbox"]
        )
        page = open_answer(browser, url, width=1280, height=1000, scheme="light")
        take(page, HERE / "listen.png")
        page.get_by_role("button", name=translate("see")).click()
        expect(page.locator("#see-pictures img")).to_have_count(8, **WAIT)
        page.wait_for_timeout(1_000)
        take(page, HERE / "see.png", element="#see")
        phone = open_answer(browser, url, width=390, height=900, scheme="dark")
        phone.locator("#result").evaluate("panel => panel.scrollIntoView()")
        take(phone, HERE / "phone.png")
        take(open_answer(browser, url, width=1200, height=630, scheme="light"), CARD)
        browser.close()


def open_answer(browser: Browser, url: str, *, width: int, height: int, scheme: str) -> Page:
    """The page with the answer to an example, from the model that it settles on."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(url)
    expect(page.locator("#model-note")).to_contain_text(
        translate("note_settled", name="accurate"), **WAIT
    )
    page.goto(f"{url}?example=angry")
    expect(page.locator("#result")).to_contain_text("Analysed by", **WAIT)
    page.wait_for_timeout(1_000)
    return page


def take(page: Page, path: Path, *, element: str | None = None) -> None:
    """Write a picture of what is in view, or of one element, in few colours."""
    if element is None:
        page.screenshot(path=path, animations="disabled")
    else:
        page.locator(element).screenshot(path=path, animations="disabled")
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(N_COLOURS)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main()
