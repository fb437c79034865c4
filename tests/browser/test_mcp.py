"""The endpoints as tools of agents, called by the official client of the protocol."""

import asyncio
import base64
import re
from ast import literal_eval
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ser_core.labels import LABELS
from tests.browser.conftest import EXAMPLE
from tests.browser.test_api import section_of
from tests.conftest import needs

pytestmark = [
    pytest.mark.browser,
    needs(find_spec("mcp"), "mcp is not installed; pip install '.[mcp]'"),
]

CLIP = "data:audio/flac;base64," + base64.b64encode(EXAMPLE.read_bytes()).decode()
CALLS: dict[str, dict[str, Any]] = {
    "predict": {"audio": CLIP, "model": "compact", "denoise": True},
    "timeline": {"audio": CLIP},
    "explain": {"audio": CLIP},
    "compare": {"audio": CLIP},
    "batch": {"files": [CLIP, CLIP]},
}
"""Arguments of each tool."""
WRONG = {
    "no sound": ("predict", {"audio": "data:audio/wav;base64,bm8gc291bmQ="}),
    "no clip": ("predict", {}),
    "another address": ("predict", {"audio": "http://127.0.0.1:9/clip.wav"}),
    "a file of the server": ("predict", {"audio": "/etc/passwd"}),
    "a model that is not loaded": ("predict", {"audio": CLIP, "model": "accurate"}),
    "no such tool": ("listen", {"audio": CLIP}),
}


def in_session(app_url: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Return what a function returns that takes an open session of the client."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def run() -> Any:
        async with (
            streamable_http_client(f"{app_url}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await work(session)

    with ThreadPoolExecutor(1) as pool:  # Playwright's loop runs in this thread
        return pool.submit(asyncio.run, run()).result()


def test_every_tool_is_described_and_answers(app_url: str, app_log: Path) -> None:
    async def call_all(session: Any) -> tuple[Any, dict[str, Any]]:
        tools = (await session.list_tools()).tools
        results = {name: await session.call_tool(name, CALLS[name]) for name in CALLS}
        return tools, results

    tools, results = in_session(app_url, call_all)
    assert {tool.name for tool in tools} == {*CALLS}
    for tool in tools:
        assert tool.description
        assert {*tool.inputSchema["properties"]} >= {*CALLS[tool.name]}
    assert not [name for name, result in results.items() if result.isError]
    answers = {name: literal_eval(result.content[0].text) for name, result in results.items()}
    assert answers["predict"]["emotion"] in LABELS
    assert answers["timeline"]["start_s"]
    assert answers["explain"]["moments"]
    assert answers["compare"]["answers"][0]["emotion"] in LABELS
    assert [row["emotion"] in LABELS for row in answers["batch"]["files"]] == [True, True]
    root = app_log.parent / "clips"  # of Gradio; the app deletes the folder that it makes there
    assert not [*root.glob("*/file.*")]


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_refused(app_url: str, name: str) -> None:
    tool, arguments = WRONG[name]
    result = in_session(app_url, lambda session: session.call_tool(tool, arguments))
    assert result.isError
    assert "Traceback" not in result.content[0].text
    assert "root:" not in result.content[0].text


def test_a_clip_beyond_the_documented_size_is_refused(app_url: str, app_log: Any) -> None:
    (kilobytes,) = re.findall(r"up to (\d+) kB", section_of("For agents"))
    longest = "data:audio/wav;base64," + "A" * (int(kilobytes) * 1_000 // 3 * 4)

    async def call(session: Any) -> Any:
        return await session.call_tool("predict", {"audio": longest})

    result = in_session(app_url, call)
    assert "couldn't read" in result.content[0].text  # accepted, but no recording
    longest = longest * 2
    with pytest.raises(Exception, match=r"413|Too Large|unhandled"):
        in_session(app_url, call)
    assert "Traceback" not in app_log.read_text()
