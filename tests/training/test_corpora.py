"""Every loader, held to the same rules."""

from collections import Counter
from pathlib import Path

import pytest

from ser_core.errors import CorpusError
from ser_core.labels import LABELS
from ser_core.training.corpora import CORPORA, NameParts

corpora = pytest.mark.parametrize("name", sorted(CORPORA))


@corpora
def test_clips_conform(name: str, miniature: Path) -> None:
    corpus = CORPORA[name]
    clips = corpus.find_clips(miniature)
    assert len({clip.path.stem for clip in clips}) == len(clips)
    for clip in clips:
        assert clip.path.is_file()
        assert clip.corpus == name
        assert clip.speaker.startswith(f"{name}/")
        assert clip.emotion in LABELS
        assert clip.sex in ("female", "male")


@corpora
def test_corpus_says_where_it_comes_from(name: str) -> None:
    corpus = CORPORA[name]
    assert corpus.name == name
    assert corpus.source.startswith("https://")
    assert corpus.licence.startswith("CC-")
    assert corpus.citation.endswith(".")
    assert set(corpus.emotions.values()) <= set(LABELS)
    assert not set(corpus.emotions) & set(corpus.dropped)


@corpora
def test_a_missing_corpus_is_named_with_its_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"{name} is not in .* Fetch it from https://"):
        CORPORA[name].find_clips(tmp_path)


@corpora
def test_a_folder_of_other_files_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / CORPORA[name].folders[0]
    folder.mkdir()
    (folder / "holiday.wav").write_bytes(b"")
    with pytest.raises(CorpusError, match=f"1 sound files, and none is named as {name}'s"):
        CORPORA[name].find_clips(tmp_path)


def test_miniature_has_the_expected_clips(miniature: Path) -> None:
    found = {name: len(corpus.find_clips(miniature)) for name, corpus in CORPORA.items()}
    assert found == {"ravdess": 32, "tess": 14}


@pytest.mark.parametrize(
    ("stem", "parts"),
    [
        ("03-01-05-02-01-02-12", NameParts("12", "female", "05", "strong", "kids")),
        ("03-01-01-01-02-01-23", NameParts("23", "male", "01", "normal", "dogs")),
        ("03-02-05-02-01-02-12", None),
        ("01-01-05-02-01-02-12", None),
        ("03-01-09-01-01-01-12", None),
    ],
)
def test_ravdess_names(stem: str, parts: NameParts | None) -> None:
    assert CORPORA["ravdess"].parse(stem) == parts


@pytest.mark.parametrize(
    ("stem", "parts"),
    [
        ("OAF_back_angry", NameParts("OAF", "female", "angry", "", "back")),
        ("YAF_youth_ps", NameParts("YAF", "female", "ps", "", "youth")),
        ("OA_bite_neutral", NameParts("OAF", "female", "neutral", "", "bite")),
        ("OAF_back_calm", None),
        ("XAF_back_sad", None),
    ],
)
def test_tess_names(stem: str, parts: NameParts | None) -> None:
    assert CORPORA["tess"].parse(stem) == parts


@pytest.mark.needs_data
def test_real_corpora_are_whole(data: Path) -> None:
    ravdess = CORPORA["ravdess"].find_clips(data)
    tess = CORPORA["tess"].find_clips(data)
    assert (len(ravdess), len(tess)) == (1_440, 2_800)
    assert len({clip.speaker for clip in ravdess}) == 24
    assert Counter(clip.emotion for clip in ravdess) == {"neutral": 96} | dict.fromkeys(
        LABELS[1:], 192
    )
    assert Counter(clip.emotion for clip in tess) == dict.fromkeys(set(LABELS) - {"calm"}, 400)
