"""A recording by segment on the page: options, segments of one's own, the list and the files."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import soundfile

from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.quality import QualityWarning
from ser_core.segment_formats import FORMATS, SegmentFileError, read_segments
from ser_core.segments import Segment, segment
from ser_core.switch import ModelSwitch
from ser_core.web import listen, segments, timeline
from ser_core.web.language import CATALOGUES, translate, use_language
from ser_core.web.segments import Found, SegmentOptions
from tests.test_web import MOMENTS, long_analysis, parse, prediction, text_of

ANGRY, CALM = prediction(angry=0.71), replace(prediction(calm=0.6), certain_from=0.7)
NOISY = QualityWarning("noisy", "The background is loud. Record in a quieter place.")
GONE = QualityWarning("short", "The recording ends before this segment. Check its times.")
CALL = (
    Segment(0.5, 1.5, speaker="channel 1", channel=0, text="<Hi>", prediction=ANGRY),
    Segment(2.0, 4.0, speaker="channel 2", channel=1, prediction=CALM, warnings=(NOISY,)),
    Segment(9.0, 9.5, speaker="channel 1", channel=0, warnings=(GONE,)),
)
WAIT_S = 0.01


@pytest.fixture(scope="module")
def talk(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two utterances, the first in the left channel and the second in the right one."""
    parts = [soundfile.read(examples / f"synthetic-{name}.flac")[0] for name in ("angry", "sad")]
    first, second = (np.pad(part / np.abs(part).max(), 8_000) for part in parts)
    left = np.concatenate([first, 0 * second])
    right = np.concatenate([0 * first, second])
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.stack([left, right], axis=1), 16_000)
    return path


def find(path: Path, predictor: Predictor, **options: str) -> Found:
    *_, found = segments.find_segments(
        path, predictor, SegmentOptions(**options), stopped=Event(), every_s=WAIT_S
    )
    return found


def test_the_page_finds_the_segments_that_the_package_finds(
    talk: Path, predictor: Predictor
) -> None:
    found = find(talk, predictor, speakers="none")
    expected = list(segment(talk, predictor))
    assert found.is_whole
    assert len(expected) >= 2
    assert [(s.start_s, s.end_s, s.prediction and s.prediction.probabilities) for s in
            found.segments] == [(s.start_s, s.end_s, s.prediction and s.prediction.probabilities)
                                for s in expected]  # fmt: skip


def test_channels_that_take_turns_are_speakers_unless_told_otherwise(
    talk: Path, predictor: Predictor
) -> None:
    assert {one.speaker for one in find(talk, predictor).segments} == {"channel 1", "channel 2"}
    assert {one.speaker for one in find(talk, predictor, speakers="none").segments} == {None}


def test_ones_own_segments_are_analysed_with_their_speakers_and_text(
    talk: Path, predictor: Predictor, tmp_path: Path
) -> None:
    own = tmp_path / "talk.srt"
    own.write_text("1\n00:00:00,500 --> 00:00:02,000\n[Ada]: Dogs sit.\n")
    (one,) = find(talk, predictor, own=str(own)).segments
    assert (one.start_s, one.end_s, one.speaker, one.text) == (0.5, 2.0, "Ada", "Dogs sit.")
    assert one.prediction is not None


def test_what_is_found_before_a_stop_is_kept(talk: Path, predictor: Predictor) -> None:
    stopped = Event()
    stopped.set()
    *_, found = segments.find_segments(
        talk, predictor, SegmentOptions(), stopped=stopped, every_s=WAIT_S
    )
    assert found.segments == []
    assert not found.is_whole


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("own.pdf", "%PDF", "Choose a file whose name ends in .srt, .vtt, .TextGrid"),
        ("own.parquet", "PAR1", "Choose a file whose name ends in"),
        ("own.srt", "1\nabc --> def\nHi\n", "own.srt"),
        ("own.srt", "", "own.srt has no segments; expected at least one of SRT subtitles."),
        ("own.vtt", "WEBVTT\n\n00:01.000 -> 2\nHi\n", "own.vtt, line 3"),
        ("own.eaf", "<a>", "own.eaf, line 1: no XML"),
        ("own.TextGrid", "\x00\x01", "own.TextGrid, line 1"),
        ("own.rttm", "SPEAKER a", "own.rttm, line 1"),
        ("own.csv", "start_s,end_s\n2,1\n", "own.csv, line 2"),
        ("own.csv", "start_s,end_s\n" + "0,1\n" * 5_001, "more than 5,000 segments"),
        ("own.csv", "start_s,end_s\n" + "0,600\n" * 3, "last longer than 20:00 min together"),
        ("own.txt", "0\t1\t" + "x" * 2_000_000, "larger than 2 MB"),
    ],
)
def test_a_file_that_is_no_segments_is_a_sentence_without_its_place_on_the_server(
    name: str, content: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SegmentFileError) as caught:
        segments.read_own(str(path), Path("talk.wav"), longest_s=600.0)
    told = str(caught.value).replace("\N{NO-BREAK SPACE}", " ")
    assert expected in told
    assert str(tmp_path) not in told


def test_a_file_of_segments_that_was_deleted_is_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(SerError, match="upload it again"):
        segments.read_own(str(tmp_path / "own.srt"), Path("talk.wav"), longest_s=600.0)


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_bad_file_of_segments_is_explained_in_the_panel(
    talk: Path, predictor: Predictor, tmp_path: Path, language: str
) -> None:
    own = tmp_path / "own.csv"
    own.write_text("start_s,end_s,channel\n0,1,7\n")
    options = SegmentOptions(own=str(own))
    with use_language(language):
        *_, (html, kept) = listen.describe(ModelSwitch(predictor), str(talk), options=options)
    told = text_of(html)
    assert kept is None
    assert "7" in told
    assert ("Correct the channels" in told) is (language == "en")
    assert "Traceback" not in told


def test_the_list_has_a_row_for_each_segment_that_one_key_reaches() -> None:
    root = parse(segments.draw_segments(Found([*CALL])))
    rows = root.findall(".//tbody/tr")
    told = [" ".join(" ".join(row.itertext()).split()).replace("\xa0", " ") for row in rows]
    assert told == [
        "0.5–1.5 s 😠 angry 71% channel 1 <Hi>",
        "2–4 s 😌 calm 60% uncertain channel 2 loud background",
        "9–9.5 s – channel 1 The recording ends before this segment. Check its times.",
    ]
    buttons = root.findall(".//tbody//button")
    assert [button.get("tabindex") for button in buttons] == [None, "-1", "-1"]
    assert "--from:0.5;--to:1.5" in (buttons[0].get("style") or "")
    label = (buttons[0].get("aria-label") or "").replace("\xa0", " ")
    assert label == "Play 0.5–1.5 s: angry, 71%"


def test_each_of_several_speakers_has_a_summary() -> None:
    told = text_of(segments.draw_segments(Found([*CALL]))).replace("\xa0", " ")
    assert "channel 1: angry (71%). Segments: 2, 1.5 s." in told
    assert "channel 2: calm (60%). Segments: 1, 2 s." in told
    assert "Segments:" not in text_of(segments.draw_segments(Found([*CALL[:1]], "own")))


def lanes(found: tuple[Segment, ...]) -> dict[str, int]:
    root = parse(timeline.timeline(long_analysis(), found))
    return {
        "".join(row.find("span[@class='mm-label']").itertext()): len(row.find("span[3]"))
        for row in root.findall(".//li[@class='mm-speaker-lane']")
    }


def test_each_speaker_has_a_lane_in_the_timeline_and_a_crowd_shares_one() -> None:
    assert lanes(CALL) == {"channel 1": 2, "channel 2": 1}
    assert lanes(CALL[:1]) == {}
    crowd = tuple(replace(CALL[0], speaker=f"s{i}") for i in range(timeline.MAX_LANES + 1))
    assert lanes(crowd) == {translate("segments_lane"): len(crowd)}
    with use_language("es"):
        assert lanes(CALL) == {"canal 1": 2, "canal 2": 1}


def test_a_timeline_of_an_hour_has_few_cells_of_the_same_mean() -> None:
    whole = long_analysis()
    (first, *_) = whole.windows
    windows = tuple(replace(first, start_s=3.0 * i, end_s=3.0 * i + 6) for i in range(1_200))
    root = parse(timeline.timeline(replace(whole, windows=windows)))
    cells = root.findall(".//span[@class='mm-heat']/span")
    assert len(cells) == timeline.MAX_CELLS * len(whole.prediction.labels)
    shades = {cell.get("style").partition("opacity:")[2] for cell in cells}
    assert len(shades) == len(set(parse_shades(whole)))


def parse_shades(analysis: object) -> list[str]:
    first = replace(analysis, windows=analysis.windows[:1], is_whole=False)  # type: ignore[type-var,attr-defined]
    cells = parse(timeline.timeline(first)).findall(".//span[@class='mm-heat']/span")
    return [cell.get("style").partition("opacity:")[2] for cell in cells]


def test_one_control_offers_the_segments_in_every_format(tmp_path: Path) -> None:
    html = listen.draw_result(
        long_analysis(), MOMENTS, found=Found([*CALL], is_whole=True), recording=Path("a call.wav")
    )
    root = parse(html)
    (choice,) = root.findall(".//select")
    (link,) = root.findall(".//a")
    options = choice.findall("option")
    assert link.get("href") == options[0].get("value")
    files = {option.get("data-name"): option.get("value") or "" for option in options}
    assert list(files) == [f"moodmirror{form.suffix}" for form in FORMATS.values()]
    for name, uri in files.items():
        content = base64.b64decode(uri.partition("base64,")[2])
        path = tmp_path / str(name)
        path.write_bytes(content)
        read = read_segments(path, recording=Path("a call.wav"))
        assert [one.start_s for one in read] == [one.start_s for one in CALL], name
    answer = json.loads((tmp_path / "moodmirror.json").read_text())
    assert answer["timeline"]["start_s"] == [1.0, 3.0, 5.0, 6.0]
    assert answer["moments"][0] == [1.0, 1.5, 0.12]
    assert answer["segments"][0]["prediction"]["emotion"] == "angry"


def test_a_single_utterance_is_the_clip_itself_and_windows_are_rows_on_demand() -> None:
    whole = long_analysis()
    alone = listen.draw_result(whole, found=Found([*CALL[:1]], is_whole=True))
    assert "mm-segments" not in alone
    assert "moodmirror.csv" in text_of(alone)
    found = segments.from_windows(whole)
    html = listen.draw_result(whole, found=found)
    rows = parse(html).findall(".//table[@class='mm-segments']/tbody/tr")
    assert len(rows) == len(whole.windows)
    assert "mm-speaker-lane" not in html
    assert [one.prediction.probabilities for one in found.segments] == [
        window.probabilities for window in whole.windows
    ]


def test_a_list_that_was_stopped_says_how_far_it_goes() -> None:
    whole, part = (
        text_of(listen.draw_result(long_analysis(), found=Found([*CALL[:2]], is_whole=is_whole)))
        for is_whole in (True, False)
    )
    told = translate("stopped", done="4 s", all="12 s")
    assert told in part.replace("\N{NO-BREAK SPACE}", " ")
    assert told not in whole.replace("\N{NO-BREAK SPACE}", " ")
