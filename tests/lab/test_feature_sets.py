"""Features of recordings as tables."""

import math
import warnings
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_core.audio.load import load_audio
from ser_core.cli import lab
from ser_core.config import FeatureConfig, PipelineConfig
from ser_core.errors import CorpusError, OutputError, SerError
from ser_core.features import extract_features
from ser_core.preprocess import preprocess
from ser_lab.data import feature_sets
from ser_lab.data.feature_sets import (
    SETS,
    Recording,
    check_table,
    feature_rows,
    find_recordings,
    open_feature_set,
    write_features,
)
from tests.accurate import made_up_tensors
from tests.conftest import RATE_HZ, make_babble, run_cli

PIPELINE = PipelineConfig()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds of babble between silences of a second."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, make_babble(), RATE_HZ)
    return path


def rows_of(recordings: list[Recording], *names: str, rows: str = "clips", is_raw: bool = False):
    """The features of recordings as one table; an error is raised."""

    def fail(_: str, error: SerError) -> None:
        raise error

    tables = feature_rows(
        recordings, open_feature_set(names), rows=rows, is_raw=is_raw, on_error=fail
    )
    return pd.concat(tables, ignore_index=True)


def test_the_papers_frames_are_those_of_the_pipeline(clip: Path) -> None:
    speech = preprocess(load_audio(clip), PIPELINE)
    config = PipelineConfig(features=FeatureConfig(fmin_hz=0.0, fmax_hz=8_000.0))
    frames = rows_of([Recording("clip", clip)], "papers", rows="frames")
    assert [*frames.columns] == ["file", "start_s", "end_s", "time_s", *config.features.columns]
    np.testing.assert_array_equal(
        frames[[*config.features.columns]], extract_features(speech.samples, config)
    )
    assert frames["time_s"][0] == pytest.approx(speech.start_s)
    assert np.diff(frames["time_s"]) == pytest.approx(0.032)


def test_a_clip_has_the_mean_and_deviation_of_its_frames(clip: Path) -> None:
    frames = rows_of([Recording("clip", clip)], "papers", "chroma", rows="frames")
    summary = rows_of([Recording("clip", clip)], "papers", "chroma").iloc[0]
    for column in ("rms", "mfcc_12", "chroma_0", "chroma_11"):
        assert summary[f"{column}_mean"] == pytest.approx(frames[column].mean(), rel=1e-4)
        assert summary[f"{column}_std"] == pytest.approx(frames[column].std(ddof=0), rel=1e-4)
    assert (summary["start_s"], summary["end_s"]) == (0.0, 4.0)
    assert (frames["time_s"].min(), frames["time_s"].max()) == pytest.approx((1.0, 3.0), abs=0.2)


def test_pitch_and_spectrum_of_a_tone_are_the_tones(tmp_path: Path) -> None:
    seconds = np.arange(2 * RATE_HZ) / RATE_HZ
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 220 * seconds), RATE_HZ)
    frames = rows_of([Recording("tone", path)], "spectral", "pitch", "chroma", rows="frames").iloc[
        5:-5
    ]
    assert frames["f0"].to_numpy() == pytest.approx(220, rel=0.01)
    assert (frames["voiced"] == 1).all()
    assert frames["spectral_centroid"].to_numpy() == pytest.approx(220, rel=0.05)
    assert frames["spectral_rolloff"].to_numpy() == pytest.approx(220, abs=RATE_HZ / 2_048)
    assert frames[[f"chroma_{i}" for i in range(12)]].to_numpy().argmax(axis=1).tolist() == (
        [9] * len(frames)  # an A, where C is 0
    )


def test_frames_without_pitch_have_none_and_do_not_count(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    seconds = np.arange(RATE_HZ) / RATE_HZ
    tone, noise = 0.3 * np.sin(2 * np.pi * 150 * seconds), random.normal(0, 0.1, RATE_HZ)
    path = tmp_path / "half.wav"
    soundfile.write(path, np.concatenate([tone, noise]), RATE_HZ)
    row = rows_of([Recording("half", path)], "functionals").iloc[0]
    assert row["f0_median"] == pytest.approx(150, rel=0.02)
    assert row["voiced_mean"] == pytest.approx(0.5, abs=0.2)  # pYIN holds on for some frames
    frames = rows_of([Recording("half", path)], "pitch", rows="frames")
    assert frames["f0"].isna().sum() == (frames["voiced"] == 0).sum() > 10
    with warnings.catch_warnings(action="error"):
        f0_mean, _, voiced_mean, _ = open_feature_set(["pitch"]).summarise(
            np.array([[np.nan, 0.0]] * 3, np.float32)
        )
    assert math.isnan(f0_mean)
    assert voiced_mean == 0


def test_functionals_are_ordered_within_each_column(clip: Path) -> None:
    row = rows_of([Recording("clip", clip)], "functionals").iloc[0]
    for column in ("rms", "mfcc_3", "chroma_5", "spectral_centroid"):
        values = [row[f"{column}_{name}"] for name in ("min", "p20", "median", "p80", "max")]
        assert values == sorted(values)
        assert values[0] < row[f"{column}_mean"] < values[-1]


def test_a_recording_as_it_is_keeps_its_level_and_its_silence(clip: Path) -> None:
    as_is = rows_of([Recording("clip", clip)], "papers", is_raw=True).iloc[0]
    assert (as_is["start_s"], as_is["end_s"]) == (0.0, 4.0)
    rms = librosa.feature.rms(y=load_audio(clip))
    assert as_is["rms_mean"] == pytest.approx(rms.mean(), rel=1e-4)


def test_whispers_vectors_are_in_step_with_the_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_sets, "fetch_encoder", lambda _: tmp_path)
    monkeypatch.setattr(feature_sets, "read_tensors", lambda *_: made_up_tensors())
    extract = open_feature_set(["whisper"]).extract
    speech = make_babble(duration_s=33.0)[RATE_HZ : 34 * RATE_HZ]  # more than the encoder takes
    vectors = extract(speech)
    assert vectors.shape == (33 * 50, 384)
    assert np.isfinite(vectors).all()
    short = extract(speech[: 2 * RATE_HZ])
    assert short.shape == (100, 384)
    # What follows reaches the vectors by attention alone.
    assert np.corrcoef(short[:50].ravel(), vectors[:50].ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["paper"], "'--set' is 'paper'; expected some of papers, mel"),
        ([""], "'--set' is ''; expected some of"),
        (["mel", "whisper"], "'--set' is 'mel,whisper'; whisper has other frames"),
    ],
)
def test_unknown_sets_are_named(names: list[str], message: str) -> None:
    with pytest.raises(SerError, match=message):
        open_feature_set(names)


def test_a_folder_is_searched_and_a_table_gives_segments_with_their_cells(clip: Path) -> None:
    (clip.parent / "more").mkdir()
    clip.with_name("notes.txt").write_text("no sound")
    soundfile.write(clip.parent / "more" / "b.flac", make_babble(seed=1), RATE_HZ)
    found = find_recordings(clip.parent)
    assert [recording.name for recording in found] == ["clip.wav", "more/b.flac"]
    table = clip.with_name("own.csv")
    table.write_text("path,start_s,end_s,label,empty\nclip.wav,1,2,sad,\nclip.wav,2,,happy,\n")
    segments = find_recordings(table)
    assert segments == [
        Recording("clip.wav", clip, 1.0, 2.0, {"label": "sad"}),
        Recording("clip.wav", clip, 2.0, math.inf, {"label": "happy"}),
    ]
    rows = rows_of(segments, "papers", is_raw=True)
    assert rows[["label", "start_s", "end_s"]].to_numpy().tolist() == (
        [["sad", 1.0, 2.0], ["happy", 2.0, 4.0]]
    )
    rms = librosa.feature.rms(y=load_audio(clip)[RATE_HZ : 2 * RATE_HZ])
    assert rows["rms_mean"][0] == pytest.approx(rms.mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,start_s,end_s\nclip.wav,2,1\n", "line 2: '2' to '1' is no segment"),
        ("path,start_s,end_s\nclip.wav,0,1\nclip.wav,soon,\n", "line 3: 'soon' to '' is no"),
        ("path,start_s\nclip.wav,-1\n", "line 2: '-1' to None is no segment"),
        ("name\nclip.wav\n", "has the columns name; path must be among them"),
        ("path\n", "has no recordings"),
        ("path,rms_mean\nclip.wav,1\n", "The table's column 'rms_mean' is one of the output"),
        ("path,start_s,end_s\nclip.wav,3.9,9\n", "from 3.9 to 9 s has 0.10 s of the recording"),
        ("path,start_s,end_s\nclip.wav,7,9\n", "from 7 to 9 s has 0.00 s of the recording"),
    ],
)
def test_a_table_that_does_not_fit_is_a_sentence(text: str, message: str, clip: Path) -> None:
    table = clip.with_name("own.csv")
    table.write_text(text)
    with pytest.raises(SerError, match=message):
        rows_of(find_recordings(table), "papers")


def test_a_folder_without_recordings_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has no recordings"):
        find_recordings(tmp_path)


@pytest.mark.parametrize("block_rows", [1, 5_000])
@pytest.mark.parametrize("rows", ["clips", "frames"])
def test_all_formats_hold_the_same_rows(
    rows: str, block_rows: int, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_sets, "BLOCK_ROWS", block_rows)
    recordings = [
        Recording("=clip", clip, cells={"label": "sad"}),
        Recording("longer name", clip, 1.0, 2.0, {"label": "happy"}),
    ]
    expected = rows_of(recordings, "papers", "pitch", rows=rows)
    for suffix in (".csv", ".parquet", ".npy"):
        tables = (table for _, table in expected.groupby("file", sort=False))
        write_features(tables, clip.with_name(f"out{suffix}"))
    features = expected.select_dtypes("float32").columns
    as_csv = pd.read_csv(clip.with_name("out.csv"))
    assert [*as_csv.columns] == [*expected.columns]
    assert as_csv["file"][0] == "'=clip"  # which a spreadsheet would run
    np.testing.assert_allclose(as_csv[features], expected[features], rtol=1e-6)
    pd.testing.assert_frame_equal(pd.read_parquet(clip.with_name("out.parquet")), expected)
    records = np.load(clip.with_name("out.npy"))
    assert records.dtype.names[-1] == "features"
    np.testing.assert_array_equal(records["features"], expected[features])
    for name in expected.columns.drop(features):
        assert records[name].tolist() == expected[name].tolist()


def test_only_tables_of_features_are_replaced(clip: Path) -> None:
    for suffix in (".csv", ".parquet", ".npy"):
        path = clip.with_name(f"out{suffix}")
        path.write_bytes(b"file,emotion\n")
        with pytest.raises(OutputError, match="was not written by this command"):
            check_table(path)
        path.unlink()
        table = rows_of([Recording("clip", clip)], "chroma")
        write_features(iter([table]), path)
        check_table(path)
    np.save(clip.with_name("other.npy"), np.zeros(3))
    with pytest.raises(OutputError, match="was not written by this command"):
        check_table(clip.with_name("other.npy"))
    with pytest.raises(OutputError, match=r"out\.txt is no table; expected a name in \.csv"):
        check_table(clip.with_name("out.txt"))


def test_the_command_reports_what_has_no_features_and_goes_on(clip: Path) -> None:
    clip.with_name("empty.wav").write_bytes(b"")
    out = clip.with_name("out.csv")
    done = run_cli("features", clip.parent, out, "--set", "mel,chroma")
    assert done.exit_code == 2
    assert "empty.wav: empty.wav is empty (0 bytes)" in done.stderr
    assert f"{out} written: 1 of 2 recordings." in done.output
    assert pd.read_csv(out).shape == (1, 3 + 2 * (128 + 12))
    before = out.read_bytes()
    clip.unlink()
    done = run_cli("features", clip.parent, out)
    assert done.exit_code == 2
    assert "No recording has features" in done.stderr
    assert out.read_bytes() == before


def test_the_sets_of_the_help_are_all() -> None:
    assert list(SETS) == [*lab.FEATURE_SETS]
