"""Every loader, held to the same rules."""

import re
from collections import Counter
from pathlib import Path

import pytest

from ser_core.corpora import CORPORA, NameParts, read_emotion
from ser_core.errors import CorpusError
from ser_core.labels import LABELS
from tests.conftest import ROOT
from tests.lab.conftest import NAMES, write_clip

corpora = pytest.mark.parametrize("name", CORPORA)


EXPECTED = {
    "ravdess": (32, {"ravdess/01", "ravdess/02", "ravdess/03", "ravdess/04"}),
    "ravdess-song": (12, {"ravdess/01", "ravdess/02"}),
    "tess": (14, {"tess/OAF", "tess/YAF"}),
    "crema-d": (12, {"crema-d/1001", "crema-d/1002"}),
    "savee": (14, {"savee/DC", "savee/KL"}),
    "jl-corpus": (8, {"jl-corpus/female1", "jl-corpus/male2"}),
    "emo-db": (12, {"emo-db/03", "emo-db/08"}),
    "nemo": (12, {"nemo/EB0", "nemo/KS0"}),
    "ased": (10, {"ased/01", "ased/02"}),
    "turev": (8, {"turev/1157", "turev/1234"}),
    "korean": (8, {"korean/nea", "korean/emf"}),
    "emospeech": (8, {"emospeech/unknown"}),
}
"""Clips and speakers of each miniature."""


@corpora
def test_clips_conform(name: str, every_corpus: Path) -> None:
    corpus = CORPORA[name]
    clips = corpus.find_clips(every_corpus)
    stems = [corpus.clip_name(clip.path) for clip in clips]
    assert stems == sorted(set(stems) & set(NAMES[name]))
    assert (len(clips), {clip.speaker for clip in clips}) == EXPECTED[name]
    assert {clip.emotion for clip in clips} == set(corpus.emotions.values())
    for clip in clips:
        assert clip.path.is_file()
        assert clip.corpus == name
        assert clip.emotion in LABELS
        assert clip.sex in ("female", "male") or name == "emospeech"


@corpora
def test_corpus_says_where_it_comes_from(name: str) -> None:
    corpus = CORPORA[name]
    assert corpus.name == name
    assert corpus.source.startswith("https://")
    assert corpus.licence.startswith(("CC", "ODbL-", "LicenseRef-"))
    assert corpus.citation.endswith(".")
    assert set(corpus.emotions.values()) <= set(LABELS)
    assert not set(corpus.emotions) & set(corpus.dropped)
    for archive in corpus.archives:
        assert archive.url.startswith(corpus.source)
        assert re.fullmatch(r"[0-9a-f]{32}", archive.md5)


@corpora
def test_the_document_tells_of_the_corpus(name: str) -> None:
    corpus = CORPORA[name]
    document = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
    row = next(line for line in document.splitlines() if line.startswith(f"| `{name}` |"))
    assert corpus.source in row
    assert corpus.licence in row
    assert f"| {corpus.n_clips:,}" in row
    for told in (*corpus.dropped, *(archive.md5 for archive in corpus.archives)):
        assert f"`{told}`" in document


@corpora
def test_a_missing_corpus_is_named_with_its_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"{name} is not in .* Download it from https://"):
        CORPORA[name].find_clips(tmp_path)


@corpora
def test_a_folder_of_other_files_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / CORPORA[name].folders[-1]
    folder.mkdir(parents=True)
    (folder / "holiday.wav").write_bytes(b"")
    with pytest.raises(CorpusError, match=f"1 audio files, but none is named like {name}'s"):
        CORPORA[name].find_clips(tmp_path)


@pytest.mark.parametrize(
    ("name", "stem", "code"),
    [
        ("ravdess", "03-01-09-01-01-01-12", "09"),
        ("ravdess-song", "03-02-07-01-01-01-12", "07"),
        ("tess", "OAF_back_calm", "calm"),
        ("crema-d", "1001_DFA_JOY_XX", "JOY"),
        ("savee", "DC_x01", "x"),
        ("jl-corpus", "male1_bored_1a_1", "bored"),
        ("emo-db", "03a01Xa", "X"),
        ("nemo", "EB0_boredom_1", "boredom"),
        ("ased", "x6-01-01-01-03", "x6"),
    ],
)
def test_an_unknown_emotion_code_is_named_with_its_file(
    name: str, stem: str, code: str, tmp_path: Path
) -> None:
    write_clip(tmp_path / CORPORA[name].folders[0] / f"{stem}.wav", seed=0)
    with pytest.raises(CorpusError, match=rf"{stem}\.wav has the emotion code '{code}'.* uses "):
        CORPORA[name].find_clips(tmp_path)


def test_miniature_has_the_expected_clips(miniature: Path) -> None:
    found = {name: len(CORPORA[name].find_clips(miniature)) for name in ("ravdess", "tess")}
    assert found == {"ravdess": 32, "tess": 14}


@pytest.mark.parametrize(
    ("taken", "passed_over"),
    [
        ("crema_d/clips/1001_DFA_ANG_XX.opus", "crema_d/wav/1001_DFA_ANG_XX.wav"),
        ("CREMA-D/AudioWAV/1001_DFA_ANG_XX.wav", "CREMA-D/AudioMP3/1001_DFA_ANG_XX.mp3"),
        ("crema_d/1001_DFA_ANG_XX.wav", "CREMA-D/1001_DFA_ANG_XX.wav"),
    ],
)
def test_a_clip_that_lies_twice_counts_once(taken: str, passed_over: str, tmp_path: Path) -> None:
    for place in (taken, passed_over):
        write_clip(tmp_path / place, seed=0)
    (clip,) = CORPORA["crema-d"].find_clips(tmp_path)
    assert clip.path == tmp_path / taken


def test_speech_and_song_of_one_actor_are_one_speaker(every_corpus: Path) -> None:
    speech, song = (
        {clip.speaker: clip.sex for clip in CORPORA[name].find_clips(every_corpus)}
        for name in ("ravdess", "ravdess-song")
    )
    assert song == {"ravdess/01": "male", "ravdess/02": "female"}
    assert song.items() <= speech.items()


def test_song_among_speech_is_found(tmp_path: Path) -> None:
    for stem in ("03-01-05-01-01-01-07", "03-02-05-01-01-01-07"):
        write_clip(tmp_path / "ravdess" / "Actor_07" / f"{stem}.wav", seed=0)
    for name, channel in (("ravdess", "03-01"), ("ravdess-song", "03-02")):
        (clip,) = CORPORA[name].find_clips(tmp_path)
        assert clip.path.name.startswith(channel)


@pytest.mark.parametrize(
    ("name", "stem", "parts"),
    [
        (
            "ravdess",
            "03-01-05-02-01-02-12",
            NameParts("12", "female", "05", "strong", "kids", "second", "audio-only", "speech"),
        ),
        (
            "ravdess",
            "03-01-01-01-02-01-23",
            NameParts("23", "male", "01", "normal", "dogs", "first", "audio-only", "speech"),
        ),
        ("ravdess", "03-02-05-02-01-02-12", None),
        ("ravdess", "01-01-05-02-01-02-12", None),
        ("ravdess", "03-01-05-02-01-02-25", None),
        (
            "ravdess-song",
            "03-02-05-02-01-02-12",
            NameParts("12", "female", "05", "strong", "kids", "second", "audio-only", "song"),
        ),
        ("ravdess-song", "03-01-05-02-01-02-12", None),
        ("tess", "OAF_back_angry", NameParts("OAF", "female", "angry", "", "back")),
        ("tess", "YAF_youth_ps", NameParts("YAF", "female", "ps", "", "youth")),
        ("tess", "OA_bite_neutral", NameParts("OAF", "female", "neutral", "", "bite")),
        ("tess", "XAF_back_sad", None),
        ("crema-d", "1001_DFA_ANG_XX", NameParts("1001", "male", "ANG", "", "DFA")),
        ("crema-d", "1091_IEO_HAP_LO", NameParts("1091", "female", "HAP", "low", "IEO")),
        ("crema-d", "1090_IEO_FEA_MD", NameParts("1090", "male", "FEA", "medium", "IEO")),
        ("crema-d", "1089_IEO_DIS_HI", NameParts("1089", "female", "DIS", "high", "IEO")),
        ("crema-d", "1040_ITH_SAD_X", NameParts("1040", "male", "SAD", "", "ITH")),
        ("crema-d", "1001_DFA_ANG", None),
        ("savee", "DC_a01", NameParts("DC", "male", "a", "", "a01")),
        ("savee", "KL_su15", NameParts("KL", "male", "su", "", "su15")),
        ("savee", "a01", None),
        ("savee", "XY_a01", None),
        ("jl-corpus", "male1_angry_1a_1", NameParts("male1", "male", "angry", "", "1a")),
        ("jl-corpus", "female2_sad_15b_2", NameParts("female2", "female", "sad", "", "15b")),
        ("jl-corpus", "female3_sad_15b_2", None),
        ("emo-db", "03a01Wa", NameParts("03", "male", "W", "", "a01")),
        ("emo-db", "16b10Lb", NameParts("16", "female", "L", "", "b10")),
        ("emo-db", "16b10L", None),
        ("nemo", "KS0_sadness_90", NameParts("KS0", "male", "sadness", "", "90")),
        ("ased", "S4-04-02-01-29", NameParts("29", "female", "s4", "", "04")),
        ("ased", "s4-04-02-03-29", None),
        ("turev", "6783_sk_masa", NameParts("6783", "male", "sk", "", "masa")),
        ("turev", "6783_xx_masa", None),
        ("korean", "emb00305", NameParts("emb", "female", "003", "", "05")),
        ("korean", "emb00405", None),
        ("emospeech", "go-glass break-angry-1", NameParts("", "unknown", "angry", "", "go")),
        ("emospeech", "go-safe-bored-1", None),
    ],
)
def test_names(name: str, stem: str, parts: NameParts | None) -> None:
    assert CORPORA[name].parse(stem) == parts


@pytest.mark.parametrize(
    ("name", "code", "emotion"),
    [
        ("ravdess", "02", "calm"),
        ("tess", "ps", "surprised"),
        ("crema-d", "FEA", "fearful"),
        ("savee", "sa", "sad"),
        ("emo-db", "W", "angry"),
        ("emo-db", "E", "disgust"),
        ("emo-db", "A", "fearful"),
        ("emo-db", "F", "happy"),
        ("emo-db", "T", "sad"),
        ("emo-db", "N", "neutral"),
    ],
)
def test_codes_that_mislead_mean_what_the_publisher_says(
    name: str, code: str, emotion: str
) -> None:
    assert CORPORA[name].emotions[code] == emotion


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("name", "n_speakers", "emotions"),
    [
        ("ravdess", 24, {"neutral": 96} | dict.fromkeys(LABELS[1:], 192)),
        ("ravdess-song", 23, {"neutral": 92} | dict.fromkeys(LABELS[1:6], 184)),
        ("tess", 2, dict.fromkeys(set(LABELS) - {"calm"}, 400)),
        (
            "crema-d",
            91,
            {"angry": 1_267, "disgust": 1_268, "fearful": 1_267}
            | {"happy": 1_269, "neutral": 1_085, "sad": 1_269},
        ),
        (
            "nemo",
            9,
            {"angry": 749, "fearful": 736, "happy": 749}
            | {"neutral": 809, "sad": 769, "surprised": 669},
        ),
        (
            "ased",
            65,
            {"angry": 485, "fearful": 510, "happy": 485, "neutral": 521, "sad": 469},
        ),
        ("turev", 6, {"angry": 487, "calm": 408, "happy": 357, "sad": 483}),
        ("korean", 15, dict.fromkeys(("angry", "happy", "neutral", "sad"), 75)),
        ("emospeech", 93, {"angry": 700, "calm": 600, "fearful": 700, "happy": 700}),
    ],
)
def test_real_corpora_are_whole(
    name: str, n_speakers: int, emotions: dict[str, int], data: Path
) -> None:
    clips = CORPORA[name].find_clips(data)
    assert Counter(clip.emotion for clip in clips) == emotions
    assert len({clip.speaker for clip in clips}) == n_speakers


def test_a_table_beside_the_clips_names_the_speaker_where_names_do_not(tmp_path: Path) -> None:
    stems = ("stop-safe-calm-20190712", "stop-safe-calm-20190713", "stop-safe-calm-20190714")
    for stem in stems:
        write_clip(tmp_path / "emospeech" / f"{stem}.wav", seed=0)
    table = f"name,emotion,speaker\n{stems[0]},calm,abc\n{stems[1]},calm,\n"
    (tmp_path / "emospeech" / "clips.csv").write_text(table, encoding="utf-8")
    clips = CORPORA["emospeech"].find_clips(tmp_path)
    assert [clip.speaker for clip in clips] == ["emospeech/abc", *["emospeech/unknown"] * 2]


@pytest.mark.needs_data
def test_real_singers_are_speakers_too(data: Path) -> None:
    speech, song = (
        {clip.speaker for clip in CORPORA[name].find_clips(data)}
        for name in ("ravdess", "ravdess-song")
    )
    assert speech - song == {"ravdess/18"}
    assert song < speech


@corpora
def test_a_name_alone_tells_the_emotion(name: str, every_corpus: Path) -> None:
    for clip in CORPORA[name].find_clips(every_corpus):
        seen = clip.path.relative_to(clip.path.parents[1])  # with its folder: SAVEE's speaker
        assert read_emotion(seen) == clip.emotion
    assert read_emotion(Path("holiday.wav")) is None
