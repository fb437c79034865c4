"""A miniature of the corpora: true names, made-up sound."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE_HZ, make_babble

ACTORS = ("01", "02", "03", "04")
TESS_EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")


def write_clip(path: Path, seed: int) -> None:
    """A second of made-up voice between two short silences."""
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = make_babble(seed=seed)[RATE_HZ // 2 : 5 * RATE_HZ // 2]
    soundfile.write(path, clip, RATE_HZ)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RAVDESS as published, four actors; TESS flat, two actresses; junk between them."""
    root = tmp_path_factory.mktemp("corpora")
    for actor in ACTORS:
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor}.wav"
            write_clip(root / "ravdess" / f"Actor_{actor}" / name, seed=emotion)
    for actress in ("OAF", "YAF"):
        for i, emotion in enumerate(TESS_EMOTIONS):
            write_clip(root / "tess" / f"{actress}_back_{emotion}.wav", seed=i)
    (root / "ravdess" / "Actor_01" / "03-02-01-01-01-01-01.wav").write_bytes(b"song")
    (root / "ravdess" / "notes.wav").write_bytes(b"no clip")
    repeated = root / "tess" / "again" / "OAF_back_angry.wav"
    write_clip(repeated, seed=0)
    np.save(root / "tess" / "extra.npy", np.zeros(1))
    return root
