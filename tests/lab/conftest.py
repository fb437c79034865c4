"""Miniatures of the corpora: true names, made-up sound."""

from collections.abc import Callable
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE_HZ, make_babble

ACTORS = ("01", "02", "03", "04")
TESS_EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
NEMO_EMOTIONS = ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
JL_PRIMARY = ("angry", "happy", "neutral", "sad", "excited")
JL_SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")

NAMES: dict[str, list[str]] = {
    "ravdess": [f"03-01-{e:02d}-01-01-01-{a}" for e, a in product(range(1, 9), ACTORS)],
    "ravdess-song": [f"03-02-{e:02d}-01-01-01-{a}" for e, a in product(range(1, 7), ACTORS[:2])],
    "tess": [f"{a}_back_{e}" for a, e in product(("OAF", "YAF"), TESS_EMOTIONS)],
    "crema-d": [
        f"{a}_DFA_{e}_XX"
        for a, e in product((1001, 1002), ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"))
    ],
    "savee": [
        f"{a}_{e}01" for a, e in product(("DC", "KL"), ("a", "d", "f", "h", "n", "sa", "su"))
    ],
    "jl-corpus": [
        f"{a}_{e}_1a_1" for a, e in product(("female1", "male2"), JL_PRIMARY + JL_SECONDARY)
    ],
    "emo-db": [f"{a}a01{e}a" for a, e in product(("03", "08"), "WLEAFTN")],
    "nemo": [f"{a}_{e}_1" for a, e in product(("EB0", "KS0"), NEMO_EMOTIONS)],
    "ased": [
        f"{e}-01-01-{sex}-{a}"
        for (sex, a), e in product((("01", "01"), ("02", "02")), ("n1", "f2", "h3", "s4", "a5"))
    ],
    "turev": [f"{a}_{e}_acik" for a, e in product(("1157", "1234"), ("kz", "hl", "sk", "mt"))],
    "korean": [f"{a}00{e}01" for a, e in product(("nea", "emf"), range(4))],
    "emospeech": [
        f"stop-safe-{e}-{t}"
        for e, t in product(("calm", "happy", "angry", "fearful"), ("20190712132258", "211"))
    ],
}
"""True names, two speakers or more a corpus, every emotion."""

PUBLISHED: dict[str, Callable[[str], str]] = {
    "ravdess": lambda name: f"ravdess/Actor_{name[-2:]}/{name}.wav",
    "ravdess-song": lambda name: f"ravdess/Actor_{name[-2:]}/{name}.wav",
    "tess": lambda name: f"TESS Toronto emotional speech set data/{name[:3]}_x/{name}.wav",
    "crema-d": lambda name: f"CREMA-D/AudioWAV/{name}.wav",
    "savee": lambda name: f"AudioData/{name[:2]}/{name[3:]}.wav",
    "jl-corpus": lambda name: f"Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/{name}.wav",
    "emo-db": lambda name: f"emodb/wav/{name}.wav",
    "nemo": lambda name: f"nEMO/samples/{name}.wav",
    "ased": lambda name: f"ASED_V1/{name[:2]}/{name}.wav",
    "turev": lambda name: f"TurEV-DB/Sound Source/{name[5:7]}/{name}.wav",
    "korean": lambda name: f"emotiontts_open_db/wav/{name[:3]}/{name}.wav",
    "emospeech": lambda name: f"emospeech-dataset-v1/{name.split('-')[0]}/{name}.wav",
}
"""Where the publishers put a clip."""

FLAT: dict[str, Callable[[str], str]] = {
    "ravdess": lambda name: f"ravdess/{name}.opus",
    "ravdess-song": lambda name: f"ravdess_song/{name}.opus",
    "tess": lambda name: f"tess/{name}.opus",
    "crema-d": lambda name: f"crema_d/clips/{name}.opus",
    "savee": lambda name: f"savee/{name}.opus",
    "jl-corpus": lambda name: f"jl_corpus/{name}.opus",
    "emo-db": lambda name: f"emo_db/{name}.opus",
    "nemo": lambda name: f"nemo/clips/{name}.opus",
    "ased": lambda name: f"ased/clips/{name}.opus",
    "turev": lambda name: f"turev/clips/{name}.opus",
    "korean": lambda name: f"korean/clips/{name}.opus",
    "emospeech": lambda name: f"emospeech/clips/{name}.opus",
}
"""A folder a corpus, one codec."""


FORMATS = {".wav": ("WAV", "PCM_16"), ".opus": ("OGG", "OPUS"), ".mp3": ("MP3", None)}


@cache
def _encoded(seed: int, suffix: str) -> bytes:
    voice = make_babble(seed=seed)[RATE_HZ // 2 : 5 * RATE_HZ // 2]
    container, subtype = FORMATS[suffix]
    stream = BytesIO()
    soundfile.write(stream, voice, RATE_HZ, format=container, subtype=subtype)
    return stream.getvalue()


def write_clip(path: Path, seed: int) -> None:
    """A second of made-up voice between two short silences."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(seed, path.suffix))


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


@pytest.fixture(scope="session", params=["published", "flat"])
def every_corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All corpora, once as their publishers lay them out and once a folder each."""
    root = tmp_path_factory.mktemp(request.param)
    layout = PUBLISHED if request.param == "published" else FLAT
    for corpus, names in NAMES.items():
        for seed, name in enumerate(names):
            write_clip(root / layout[corpus](name), seed=seed % 8)
    return root
