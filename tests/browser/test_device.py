"""examples/browser: features and model in the browser itself, with the network switched off.

The features need Node, the page `npm run build` (see examples/browser/README.md); without them,
these tests are skipped.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, expect

from ser_core.config import WHISPER_FEATURES, FeatureConfig, PipelineConfig, PreprocessConfig
from ser_core.features import extract_features
from ser_core.predictor import Predictor
from ser_core.preprocess import preprocess
from ser_core.registry import resolve
from tests.browser.conftest import ANSWER_WITHIN_MS, EXAMPLE
from tests.conftest import ROOT, make_babble

WAIT = {"timeout": ANSWER_WITHIN_MS}
FOLDER = ROOT / "examples" / "browser"
BUILT = FOLDER / "dist"
COMPACT = resolve("compact").model.manifest.pipeline
LOG_MEL = FeatureConfig(groups=("log_mel",), frame_length=1_024, hop_length=320)
PIPELINES = {
    "compact": COMPACT,
    "peak": PipelineConfig(features=LOG_MEL),
    "speech": PipelineConfig(preprocess=PreprocessConfig(level="speech"), features=LOG_MEL),
    "whisper": PipelineConfig(features=WHISPER_FEATURES),
}
SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
const [, , module, settings, sound, out] = process.argv;
const { extractFeatures, preprocess } = await import(module);
const pipeline = JSON.parse(readFileSync(settings));
const samples = new Float32Array(readFileSync(sound).buffer.slice(0));
const frames = extractFeatures(preprocess(samples, pipeline), pipeline);
writeFileSync(out, Float32Array.from(frames.flatMap((frame) => [...frame])));
"""
"""Node's program: samples in, the page's features out."""

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
needs_build = pytest.mark.skipif(
    not (BUILT / "model.onnx").is_file(), reason="examples/browser is not built: npm run build"
)


@needs_node
@pytest.mark.parametrize("name", PIPELINES)
def test_the_browsers_features_are_pythons(name: str, tmp_path: Path) -> None:
    pipeline, babble = PIPELINES[name], make_babble(seed=3)
    click = np.zeros_like(babble)
    click[2_000] = 0.9
    samples = babble + click + np.float32(0.05)
    samples.tofile(tmp_path / "sound")
    (tmp_path / "script.mjs").write_text(SCRIPT)
    (tmp_path / "settings.json").write_text(json.dumps(asdict(pipeline)))
    files = [tmp_path / part for part in ("script.mjs", "settings.json", "sound", "features")]
    files.insert(1, FOLDER / "src" / "features.js")
    subprocess.run(["node", *files], check=True)
    expected = extract_features(preprocess(samples, pipeline).samples, pipeline)
    found = np.fromfile(tmp_path / "features", np.float32).reshape(-1, expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


class QuietHandler(SimpleHTTPRequestHandler):
    """A static file server that logs nothing."""

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def device_page(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """The built page, loaded and ready, its server gone; and a list of what it requests then."""
    handler = partial(QuietHandler, directory=str(BUILT))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(viewport={"width": 390, "height": 800})
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        expect(page.locator("#status")).to_have_text("Ready", **WAIT)
        server.shutdown()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    context.set_offline(True)
    yield page, requests
    assert complaints == []
    context.close()


def shares(page: Page) -> list[int]:
    """Percentages beside the bars; empty before the first answer."""
    texts = page.locator(".share").all_inner_texts()
    return [] if "–" in texts else [int(text.rstrip("%")) for text in texts]


@needs_build
@pytest.mark.browser
def test_nothing_leaves_the_device(device_page: tuple[Page, list[str]]) -> None:
    page, requests = device_page
    page.get_by_role("button", name="Start the microphone").click()
    assert shares(page) == []
    expect(page.locator(".share").first).not_to_have_text("–", **WAIT)
    assert 97 <= sum(shares(page)) <= 103
    page.get_by_role("button", name="Stop the microphone").click()
    expect(page.get_by_role("button", name="Start the microphone")).to_be_visible()
    assert requests == []


@needs_build
@pytest.mark.browser
def test_a_file_gets_the_answer_of_the_command_line(device_page: tuple[Page, list[str]]) -> None:
    page, requests = device_page
    page.locator("#file").set_input_files(EXAMPLE)
    expect(page.locator(".share").first).not_to_have_text("–", **WAIT)
    answer = Predictor(resolve(str(BUILT)).model).predict(EXAMPLE)
    assert page.locator("#status").inner_text().lower() == answer.emotion
    np.testing.assert_allclose(shares(page), [100 * p for p in answer.probabilities], atol=1.0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert requests == []


@needs_build
@pytest.mark.browser
def test_files_without_sound_or_speech_get_a_sentence(
    device_page: tuple[Page, list[str]], tmp_path: Path
) -> None:
    page, _ = device_page
    (tmp_path / "notes.wav").write_text("no sound")
    page.locator("#file").set_input_files(tmp_path / "notes.wav")
    expect(page.locator("#status")).to_have_text("We couldn't read this file.", **WAIT)
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    page.locator("#file").set_input_files(tmp_path / "silence.wav")
    expect(page.locator("#status")).to_have_text("We hear only silence.", **WAIT)
