"""Exploration: a page that needs no other file, figures, and tables that can be read back."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from ser_core.cli import app
from ser_core.corpora import CORPORA
from ser_core.errors import CorpusError, MissingCorpusError
from ser_lab.data.splits import list_clips
from ser_lab.data.tables import clips_from_csv
from ser_lab.explore import explore
from ser_lab.explore.charts import chart_counts, chart_spread
from ser_lab.explore.survey import (
    choose_intensities,
    choose_sets,
    common_emotions,
    cut_to_rarest,
    mean_spectrum,
    measure_clips,
)
from tests.lab.conftest import write_clip

ANGRY, SAD, CALM = "05", "04", "02"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two actors of RAVDESS, one of them calm too, and one actress of TESS."""
    root = tmp_path_factory.mktemp("data")
    for i, (emotion, intensity, actor) in enumerate(
        [(ANGRY, 1, 1), (SAD, 1, 1), (ANGRY, 1, 2), (ANGRY, 2, 2), (SAD, 1, 2), (CALM, 1, 2)]
    ):
        name = f"03-01-{emotion}-0{intensity}-01-01-0{actor}.wav"
        write_clip(root / "ravdess" / name, seed=i)
    for i, emotion in enumerate(("angry", "sad")):
        write_clip(root / "tess" / f"OAF_back_{emotion}.wav", seed=i)
    return root


@pytest.fixture(scope="module")
def out(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output for that tree."""
    folder = tmp_path_factory.mktemp("out")
    explore(tree, folder)
    return folder


def test_the_page_needs_no_other_file(out: Path) -> None:
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    sources = re.findall(r'(?:src|href|srcset)="([^"]*)"', page)
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert "url(http" not in page


def test_the_page_counts_what_is_there_and_names_what_is_not(out: Path) -> None:
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "8 clips of 3 speakers in 2 corpora" in page
    absent = [name for name in CORPORA if name not in ("ravdess", "tess")]
    assert f"Not found: {', '.join(absent)}." in page
    (row,) = re.findall(r'<tr><th scope="row">[^<]* angry</th>(.*)</tr>', page)
    assert re.findall(r"<td>(.*?)</td>", row) == ["3", "1", "4"]


def test_clips_stand_side_by_side_in_every_picture(out: Path) -> None:
    page = (out / "index.html").read_text(encoding="utf-8")
    alts = re.findall(r'<img alt="(.*?) of (.*?), (\w+)"', page)
    shown = {(name, emotion) for _, name, emotion in alts}
    assert shown == {
        ("03-01-05-02-01-01-02.wav", "angry"),
        ("03-01-04-01-01-01-02.wav", "sad"),
        ("03-01-02-01-01-01-02.wav", "calm"),
        ("03-01-05-01-01-01-02.wav", "angry"),
        ("OAF_back_angry.wav", "angry"),
        ("OAF_back_sad.wav", "sad"),
    }
    assert len({picture for picture, _, _ in alts}) == 8
    # One clip of anger is in both sets of its speaker, and so is that of calm.
    assert len(alts) == 8 * (len(shown) + 2)
    written = [path.name for path in (out / "figures").glob("*/*.png")]
    assert len(written) == len(alts)
    assert "mfcc_angry-strong.png" in written
    assert len(list((out / "figures").glob("*.png"))) == page.count("<svg")


def test_the_table_of_clips_is_a_custom_table(tree: Path, out: Path) -> None:
    clips = clips_from_csv(out / "clips.csv")
    expected = list_clips(tree, ["ravdess", "tess"])
    assert [clip.path for clip in clips] == [path.resolve() for path in expected["path"]]
    assert [clip.emotion for clip in clips] == list(expected["emotion"])
    assert {clip.speaker for clip in clips} == {
        "clips/ravdess/01", "clips/ravdess/02", "clips/tess/OAF",
    }  # fmt: skip


def test_the_balanced_table_has_as_many_clips_of_each_common_emotion(out: Path) -> None:
    balanced = clips_from_csv(out / "balanced.csv")
    assert Counter(clip.emotion for clip in balanced) == {"angry": 3, "sad": 3}


def test_common_emotions_are_those_of_every_corpus() -> None:
    table = pd.DataFrame(
        [("a", "sad"), ("a", "happy"), ("a", "angry"), ("b", "happy"), ("b", "sad"), ("b", "sad")],
        columns=["corpus", "emotion"],
    )
    assert common_emotions(table) == ("happy", "sad")
    cut = cut_to_rarest(table[table["emotion"].isin(["happy", "sad"])])
    assert cut["emotion"].value_counts().to_dict() == {"happy": 2, "sad": 2}
    assert cut.index.is_monotonic_increasing
    pd.testing.assert_frame_equal(cut, cut_to_rarest(cut))


def test_corpora_without_a_common_emotion_leave_nothing() -> None:
    table = pd.DataFrame({"corpus": ["a", "b"], "emotion": ["sad", "happy"]})
    assert common_emotions(table) == ()
    assert cut_to_rarest(table[:0]).empty


def test_clips_are_measured_as_their_files_have_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 24_000)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], axis=1), 24_000)
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 24_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    names = ("tone.wav", "none.wav", "broken.wav")
    measured = measure_clips([tmp_path / name for name in names])
    row = measured.iloc[0]
    assert (row["duration_s"], row["sample_rate_hz"], row["n_channels"]) == (2.0, 24_000, 2)
    assert row["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)
    assert row["level_dbfs"] == pytest.approx(-9.03, abs=0.01)
    assert measured.iloc[1:].isna().all(axis=None)
    assert [record.args[0].name for record in caplog.records] == ["none.wav", "broken.wav"]


def test_the_mean_spectrum_is_independent_of_level(tmp_path: Path) -> None:
    t = np.arange(16_000) / 16_000
    for name, amplitude, hz in (("loud", 0.9, 1_000), ("faint", 0.009, 3_000)):
        soundfile.write(tmp_path / f"{name}.wav", amplitude * np.sin(2 * np.pi * hz * t), 16_000,
                        subtype="FLOAT")  # fmt: skip
    frequencies_hz, level = mean_spectrum(sorted(tmp_path.glob("*.wav")))
    at = {hz: level[int(np.abs(frequencies_hz - hz).argmin())] for hz in (1_000, 2_000, 3_000)}
    assert at[1_000] == pytest.approx(at[3_000], abs=0.1)
    assert at[2_000] < -40
    assert mean_spectrum([]).shape == (2, 0)


def test_one_speaker_and_sentence_is_chosen_with_its_strongest_clips(tree: Path) -> None:
    ravdess, tess = choose_sets(list_clips(tree, ["ravdess", "tess"]))
    assert list(ravdess["emotion"]) == ["calm", "sad", "angry"]
    assert set(ravdess["speaker"]) == {"ravdess/02"}
    assert list(ravdess["intensity"]) == ["normal", "normal", "strong"]
    assert list(tess["emotion"]) == ["sad", "angry"]


def test_one_speaker_is_chosen_from_calm_to_very_angry(tree: Path) -> None:
    table = list_clips(tree, ["ravdess", "tess"])
    (rows,) = choose_intensities(table)
    assert list(rows["emotion"]) == ["calm", "angry", "angry"]
    assert list(rows["intensity"]) == ["normal", "normal", "strong"]
    assert set(rows["speaker"]) == {"ravdess/02"}
    assert choose_intensities(table, ["ravdess/01"]) == []


def test_lengths_have_a_minimum_a_mean_and_a_maximum(out: Path) -> None:
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "They last 2.00, 2.00, 2.00 s (minimum, mean, maximum)." in page
    (row,) = re.findall(r'<tr><th scope="row">tess</th>(.*)</tr>', page)
    assert "2.00, 2.00, 2.00 s" in re.findall(r"<td>(.*?)</td>", row)


def test_speakers_can_be_chosen(tree: Path) -> None:
    table = list_clips(tree, ["ravdess", "tess"])
    (rows,) = choose_sets(table, ["ravdess/01"])
    assert set(rows["speaker"]) == {"ravdess/01"}
    both = choose_sets(table, ["ravdess/02", "ravdess/01"])
    assert sorted(rows["speaker"].iloc[0] for rows in both) == ["ravdess/01", "ravdess/02"]
    with pytest.raises(CorpusError, match="no clip of ravdess/03; speakers are named as ravdess"):
        choose_sets(table, ["ravdess/03"])


def test_charts_take_the_colour_of_the_text_around_them() -> None:
    chart = chart_counts("name", "Title", pd.DataFrame({"sad": [1_200, 1], "happy": [34, 2]}))
    assert "currentColor" in chart.svg
    assert "#000000" not in chart.svg
    assert ">1,234<" in chart.svg
    assert "Title" not in chart.svg  # the page has it in HTML
    assert chart.png.startswith(b"\x89PNG")


def test_a_spread_with_nothing_measured_is_drawn_too() -> None:
    table = pd.DataFrame({"corpus": ["a"], "emotion": ["sad"], "level_dbfs": [np.nan]})
    assert chart_spread("name", "Title", "dB", table, "level_dbfs").svg.startswith("<svg")


def test_a_folder_without_corpora_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingCorpusError, match="contains none of the corpora ravdess, "):
        explore(tmp_path, tmp_path / "out")
    done = CliRunner().invoke(
        app, ["explore", "--data", str(tmp_path), "--corpus", "tess", "--out", str(tmp_path)]
    )
    assert (done.exit_code, done.stdout) == (2, "")
    assert "tess is not in" in done.stderr
    assert not (tmp_path / "index.html").exists()
