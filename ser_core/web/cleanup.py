"""Takes away what is left behind while the page is up: old clips, visits that are over, memory.

Gradio's own deletion of files (`delete_cache`) ends for good when somebody uploads in the moment
that it looks. Of each visit it keeps 0.1 MB and more, of ten thousand of them; and of a visitor's
messages it lets go when two thousand others have come after him, even while he is talking.
"""

import asyncio
import ctypes
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.routes import App

M_ARENA_MAX = -8
"""`mallopt`'s name for the number of heaps, from glibc's malloc.h."""
N_HEAPS = 2


def share_heaps() -> None:
    """Let all threads allocate from two heaps, not from eight a core, each with gaps of its own.

    To be called before the threads start.
    """
    if mallopt := _from_glibc("mallopt"):
        mallopt(M_ARENA_MAX, N_HEAPS)


def return_memory() -> None:
    """Hand freed memory back to the system."""
    if trim := _from_glibc("malloc_trim"):
        trim(0)


def _from_glibc(name: str) -> Any:
    """A function of glibc, None where that is not the C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 10
CLIP_LIFE_S = 300
DELETED_AFTER_S = CLIP_LIFE_S + 2 * SWEEP_EVERY_S
"""A clip is first seen, and then found too old, one round late each at most."""


@dataclass(slots=True)
class ClipFolder:
    """The folder that Gradio keeps clips in, and since when each of them has been there.

    Ages are by a clock of our own, whatever is done to the machine's.

    Attributes:
        path: The folder; all that is in it is deleted in its turn.
        life_s: How long a file stays after it was last written or used.
    """

    path: Path
    life_s: float
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    def delete_old(self, keep: Iterable[str] = ()) -> set[str]:
        """Delete files, and folders that are empty, which have lain here for too long.

        Args:
            keep: Files that stay.

        Returns:
            The files that are gone.
        """
        now, kept, gone = time.monotonic(), {Path(path) for path in keep}, set()
        seen, self._seen = self._seen, {}
        for path in sorted(self.path.rglob("*"), reverse=True):  # a folder after what is in it
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


def sweeping(clips: Path) -> Callable[[App], AbstractAsyncContextManager[None]]:
    """The life of an app that is swept, for `launch(app_kwargs={"lifespan": …})`.

    Args:
        clips: The app's own folder of clips.
    """

    @asynccontextmanager
    async def swept(app: App) -> AsyncIterator[None]:
        task = asyncio.create_task(_sweep_on_schedule(app, ClipFolder(clips, CLIP_LIFE_S)))
        try:
            yield
        finally:
            task.cancel()

    return swept


async def _sweep_on_schedule(app: App, clips: ClipFolder) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        try:
            page = app.get_blocks()
            forget_visits(page)
            await asyncio.to_thread(_sweep, page, clips)
        except Exception:
            logger.exception("Deleting old files failed; trying again in the next round")


def _sweep(page: gr.Blocks, clips: ClipFolder) -> None:
    blocks = [*page.blocks.values()]
    gone = clips.delete_old(
        keep={path for block in blocks for path in getattr(block, "keep_in_cache", ())}
    )
    for known in page.temp_file_sets:
        known.difference_update(gone)
    return_memory()


def forget_visits(page: gr.Blocks) -> None:
    """Let go of visits that nothing is asked in, and of whose state there is nothing to lose.

    To be called in the app's event loop. Who asks again is known anew.
    """
    queue, states = page._queue, page.state_holder
    asking = {visit for visit, events in queue.pending_event_ids_session.items() if events}
    for visit in queue.pending_messages_per_session.keys() - asking:
        del queue.pending_messages_per_session[visit]
    for visit in queue.pending_event_ids_session.keys() - asking:
        del queue.pending_event_ids_session[visit]
    with states.lock:
        for visit in states.session_data.keys() - asking:
            if not states.session_data[visit].state_data:
                del states.session_data[visit]
                states.time_last_used.pop(visit, None)
