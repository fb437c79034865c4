"""An installation that cannot be written, for a user without a home."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

READ_ONLY = """
from numba.core.caching import InTreeCacheLocator
def refuse(self): raise OSError("read-only")
InTreeCacheLocator.ensure_cache_path = refuse
import librosa.util.utils, matplotlib, os
matplotlib.get_cachedir()
print(os.path.isdir(os.environ.get("NUMBA_CACHE_DIR", "")), os.environ.get("NUMBA_CACHE_DIR"))
"""


@pytest.mark.parametrize("home", ["/proc/nowhere", ""])
def test_librosa_and_matplotlib_need_no_folder_of_their_own(home: str) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    cache = {"XDG_CACHE_HOME": "/proc/nowhere"} if not home else {"HOME": home}
    code = f"from ser_core.paths import provide_caches\nprovide_caches()\n{READ_ONLY}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept | cache, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    is_there, folder = done.stdout.split()
    assert is_there == "True"
    assert not os.path.exists(folder)  # noqa: PTH110
