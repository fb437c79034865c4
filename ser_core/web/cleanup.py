"""Deletes old clips and idle sessions and returns memory while the page is up.

Gradio's own deletion of files (`delete_cache`) ends for good when an upload arrives during a
check. It keeps 0.1 MB and more of each session, for ten thousand sessions, and drops a session's
messages once two thousand newer ones exist, even while its visitor is talking.
"""

import asyncio
import ctypes
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.queueing import Queue
from gradio.routes import App

logger = logging.getLogger(__name__)

CLEANUP_EVERY_S = 10
CLIP_LIFE_S = 300
DELETED_AFTER_S = CLIP_LIFE_S + 2 * CLEANUP_EVERY_S
"""A clip is first seen, and then found too old, at most one round late each."""
M_ARENA_MAX = -8
"""`mallopt`'s name for the number of heaps, from glibc's malloc.h."""
N_HEAPS = 2


@dataclass(slots=True)
class ClipFolder:
    """The folder that Gradio keeps clips in, and the age of each.

    Ages are by a monotonic clock, so that a change of the system's clock does not matter.

    Attributes:
        path: The folder; everything in it is deleted in time.
        life_s: Time that a file stays after it was last written or used.
    """

    path: Path
    life_s: float
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    def delete_old(self, keep: Iterable[str] = ()) -> set[str]:
        """Delete old files and old empty folders, and return the files that are gone.

        Args:
            keep: Files that stay.
        """
        now, kept, gone = time.monotonic(), {Path(path) for path in keep}, set()
        seen, self._seen = self._seen, {}
        for path in sorted(self.path.rglob("*"), reverse=True):  # a folder after its contents
            with suppress(OSError):  # others may delete, too, and a folder may not be empty
                changed = path.lstat().st_ctime_ns
                known, since = seen.get(path, (changed, now))
                since = since if known == changed else now
                if now - since < self.life_s or path in kept:
                    self._seen[path] = changed, since
                elif path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()
                    gone.add(str(path))
        return gone


def cleanup_lifespan(clips: Path) -> Callable[[App], AbstractAsyncContextManager[None]]:
    """Return a lifespan with cleanup, for `launch(app_kwargs={"lifespan": …})`.

    Args:
        clips: Folder of clips that no other app uses.
    """

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        task = asyncio.create_task(_clean_up_on_schedule(app, ClipFolder(clips, CLIP_LIFE_S)))
        try:
            yield
        finally:
            task.cancel()

    return lifespan


async def _clean_up_on_schedule(app: App, clips: ClipFolder) -> None:
    while True:
        await asyncio.sleep(CLEANUP_EVERY_S)
        try:
            page = app.get_blocks()
            _drop_idle_sessions(page)
            in_use = _files_in_use(page._queue)
            await asyncio.to_thread(_clean_up, page, clips, in_use)
        except Exception:
            logger.exception("Deleting old files failed; trying again in the next round")


def _drop_idle_sessions(page: gr.Blocks) -> None:
    """Drop sessions without a pending event and without state; a new event starts them afresh.

    To be called in the app's event loop.
    """
    queue, states = page._queue, page.state_holder
    active = {session for session, events in queue.pending_event_ids_session.items() if events}
    for session in queue.pending_messages_per_session.keys() - active:
        del queue.pending_messages_per_session[session]
    for session in queue.pending_event_ids_session.keys() - active:
        del queue.pending_event_ids_session[session]
    with states.lock:
        for session in states.session_data.keys() - active:
            if not states.session_data[session].state_data:
                del states.session_data[session]
                states.time_last_used.pop(session, None)


def _clean_up(page: gr.Blocks, clips: ClipFolder, in_use: set[str]) -> None:
    blocks = [*page.blocks.values()]
    examples = {path for block in blocks for path in getattr(block, "keep_in_cache", ())}
    gone = clips.delete_old(keep=examples | in_use)
    for known in page.temp_file_sets:
        known.difference_update(gone)
    if trim := _from_glibc("malloc_trim"):
        trim(0)


def _files_in_use(queue: Queue) -> set[str]:
    """Return the paths in the inputs of events that run or are in the queue."""
    inputs = [event.data.data for event in [*queue.event_ids_to_events.values()] if event.data]
    return {*_paths_in(inputs)}


def _paths_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(path := value.get("path"), str):
            yield path
        value = [*value.values()]
    if isinstance(value, list):
        for one in value:
            yield from _paths_in(one)


def limit_heaps() -> None:
    """Make all threads allocate from two heaps, instead of eight per core with gaps in each.

    To be called before the threads start.
    """
    if mallopt := _from_glibc("mallopt"):
        mallopt(M_ARENA_MAX, N_HEAPS)


def _from_glibc(name: str) -> Any:
    """Return a function of glibc, None where that is not the C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
