"""Time from the request for the page until a visitor with a slow phone can record.

    python -m benchmarks.page http://127.0.0.1:7860

Chromium's DevTools slow the connection down to 1.6 Mbit/s and the processor to a quarter, with an
empty cache. The page has to be running; Debian's `chromium` is used.
"""

import shutil
from statistics import median
from typing import Annotated, Any

import typer
from playwright.sync_api import Browser, sync_playwright

from ser_core.errors import SerError

BYTES_PER_S = 1.6e6 / 8
SLOWDOWN = 4
MARK = """
    window.marks = {};
    const isSeen = one => one?.checkVisibility({ visibilityProperty: true });
    const seen = selector => [...document.querySelectorAll(selector)].some(isSeen);
    const look = () => {
        const now = performance.now();
        if (seen("#early button, #clip .record-button")) marks.record ??= now;
        if (seen("#clip .record-button") && !seen("#early")) marks.whole ??= now;
        if (!marks.whole) requestAnimationFrame(look);
    };
    look();
"""
"""JavaScript that notes when the first button that records is there, and when the whole page is."""


def measure(browser: Browser, url: str) -> dict[str, float]:
    """Return seconds until `record` and `whole`, and the bytes received."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    rates = {"downloadThroughput": BYTES_PER_S, "uploadThroughput": BYTES_PER_S / 2}
    devtools.send("Network.emulateNetworkConditions", {"offline": False, "latency": 0} | rates)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    sizes: list[float] = []

    def add(event: dict[str, Any]) -> None:
        sizes.append(event["encodedDataLength"])

    devtools.on("Network.loadingFinished", add)
    page.add_init_script(MARK)
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.marks?.whole", timeout=120_000)
    marks = page.evaluate("window.marks")
    context.close()
    return {name: marks[name] / 1_000 for name in ("record", "whole")} | {"bytes": sum(sizes)}


def main(
    url: Annotated[str, typer.Argument(help="Address of the running page.")],
    times: Annotated[int, typer.Option(help="Visits.")] = 5,
) -> None:
    """Print the medians over several visits."""
    if (chromium := shutil.which("chromium")) is None:
        raise SerError("Chromium is missing; install Debian's package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless=new", "--no-sandbox"]
        )
        visits = [measure(browser, url) for _ in range(times)]
        browser.close()
    record, whole, size = (median(visit[key] for visit in visits) for key in visits[0])
    print(f"Record usable after {record:.1f} s, the whole page after {whole:.1f} s")
    print(f"{size / 1_000:.0f} KB over the network; medians of {times} visits")


if __name__ == "__main__":
    typer.run(main)
