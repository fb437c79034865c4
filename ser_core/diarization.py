"""Speakers of a recording: who speaks when, and what is known of each.

`assign_speakers` cuts each segment into overlapping windows; those whose vectors are alike are one
speaker. The vectors exist only while a recording is analysed; nothing here returns or stores them.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts where they are first used

from ser_core.audio.load import AudioSource, stream_audio
from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.preprocess import Waveform
from ser_core.reference import adapt_together
from ser_core.segments import Segment, SegmentConfig, cut
from ser_core.segments import segment as analyse
from ser_core.speaker_encoder import FRAME, RATE_HZ, Numbers, embed_voice

CHOICES = ("none", "auto", "channels", "find")
"""Where the speakers of `segment_speakers` come from, if not their number."""
MAX_SPEAKERS = 99
TURN_DB, TURN_S, TURN_SHARE = 10.0, 0.1, 0.05
"""Least level of a channel above the others while its speaker speaks, length of a frame of it, and
least share of such frames in the sound."""
SILENCE_DB = -60.0
"""Level below which sound is silence, relative to full scale."""
_UTTERANCES = SegmentConfig()


@dataclass(frozen=True, slots=True)
class DiarizationConfig:
    """Settings of `assign_speakers`.

    Attributes:
        window_s: Length of a window.
        hop_s: Step between the starts of two windows.
        whole_s: Longest segment that is one window.
        min_window_s: Length from which a window counts when speakers are found.
        max_distance: Mean cosine distance up to which two groups of windows are one speaker.
        min_speech_s: Shortest speech of a speaker, parts that overlap counted twice; what is
            shorter goes to the most similar one.
        n_speakers: Number of speakers; None to find it.
        max_windows: Most windows that are compared; the others go to the most similar speaker.
    """

    window_s: float = 2.0
    hop_s: float = 1.0
    whole_s: float = 3.0
    min_window_s: float = 0.8
    max_distance: float = 0.65
    min_speech_s: float = 3.0
    n_speakers: int | None = None
    max_windows: int = 2_000


_DEFAULTS = DiarizationConfig()

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Window:
    """A window of a segment: the number of the segment, its times in it, and its vector."""

    segment: int
    start_s: float
    end_s: float
    vector: Numbers


def number_of_speakers(choice: str) -> int | None:
    """Return the number of speakers that a choice is; None for one of `CHOICES`.

    Raises:
        SerError: It is neither.
    """
    if choice in CHOICES:
        return None
    if choice.isdecimal() and len(choice) <= 2 and 1 <= int(choice) <= MAX_SPEAKERS:
        return int(choice)
    raise SerError(
        f"{choice[:40]} is no choice; expected {', '.join(CHOICES)} or a number from 1 to "
        f"{MAX_SPEAKERS}."
    )


def segment_speakers(
    source: AudioSource,
    predictor: Predictor,
    speakers: str = "none",
    *,
    config: SegmentConfig = _UTTERANCES,
    given: Sequence[Segment] | None = None,
    denoise: bool = False,
    progress: Callable[[str], Callable[[float], None]] = lambda _: lambda _: None,
) -> Iterator[Segment]:
    """Yield the segments of a recording with their emotions and speakers.

    Args:
        source: As in `segment`; read twice where speakers are found.
        predictor: As in `segment`.
        speakers: One of `CHOICES`, or their number in digits. `find` is by their voices; `auto` is
            `channels` where these take turns, see `channels_differ`, else `none`.
        config: As in `segment`; `channels` sets `by_channel`.
        given: As in `segment`.
        denoise: As in `segment`.
        progress: From the name of a step, `speakers` or `emotions`, to its `on_progress`.

    Yields:
        As `segment`.

    Raises:
        AudioError: As in `segment`.
        SerError: As in `segment` and `number_of_speakers`.
    """
    n_speakers = number_of_speakers(speakers)
    if speakers == "auto":
        speakers = "channels" if channels_differ(source, config) else "none"
    config = replace(config, by_channel=config.by_channel or speakers == "channels")
    if speakers not in ("none", "channels"):
        pairs = cut(source, config=config, given=given, on_progress=progress("speakers"))
        given = assign_speakers(pairs, DiarizationConfig(n_speakers=n_speakers))
    on_progress = progress("emotions")
    yield from name_channels(
        analyse(
            source, predictor, config=config, given=given, denoise=denoise, on_progress=on_progress
        )
    )


def channels_differ(source: AudioSource, config: SegmentConfig = _UTTERANCES) -> bool:
    """Return whether the channels of a recording take turns, as those of a telephone call do.

    They do where each of two is `TURN_DB` above all others in `TURN_SHARE` of the sound; silence
    does not count.

    Args:
        source: As in `segment`; of one channel, only the start is read.
        config: As in `segment`.

    Raises:
        AudioError: As in `segment`.
    """
    limits = config.limits
    length, n_frames, n_turns = round(TURN_S * RATE_HZ), 0, np.zeros(limits.max_channels, np.int64)
    for block in stream_audio(source, limits, by_channel=True):  # (n_samples, n_channels)
        if block.shape[1] == 1:
            return False
        frames = block[: len(block) // length * length].reshape(-1, length, block.shape[1])
        levels_db = 10.0 * np.log10(
            np.square(frames).mean(axis=1) + 1e-12
        )  # (n_frames, n_channels)
        *_, second, first = np.sort(levels_db, axis=1).T
        is_sound = first > SILENCE_DB
        is_turn = is_sound & (first - second >= TURN_DB)
        n_frames += int(is_sound.sum())
        n_turns += np.bincount(levels_db[is_turn].argmax(axis=1), minlength=len(n_turns))
    return n_frames > 0 and int((n_turns >= TURN_SHARE * n_frames).sum()) > 1


def assign_speakers(
    found: Iterable[tuple[Segment, Waveform]], config: DiarizationConfig = _DEFAULTS
) -> list[Segment]:
    """Return segments with their speakers, named `speaker 1`, `speaker 2` … as they appear.

    A segment in which the speaker changes is split, unless its text is known. One whose speaker is
    known stays as it is.

    Args:
        found: Segments with their sound, as from `cut`; the sound is not kept.
        config: Settings.
    """
    segments, windows = list[Segment](), list[_Window]()
    for segment, samples in found:
        segments.append(segment)
        if segment.speaker is None and len(samples) >= 4 * FRAME:
            windows += _windows(len(segments) - 1, samples, config)
    if not windows:
        return segments
    labels = _cluster(windows, config)
    names: dict[int, str] = {}
    named = list[Segment]()
    for i, segment in enumerate(segments):
        own = [j for j, window in enumerate(windows) if window.segment == i]
        for part, label in _split(segment, [windows[j] for j in own], labels[own]):
            name = names.setdefault(label, f"speaker {len(names) + 1}")
            named.append(replace(part, speaker=name))
        if not own:
            named.append(segment)
    return named


def _windows(i: int, samples: Waveform, config: DiarizationConfig) -> Iterator[_Window]:
    """Yield the windows of a segment, the last of which ends with it; a short one is its own."""
    length, hop = (round(s * RATE_HZ) for s in (config.window_s, config.hop_s))
    if len(samples) <= config.whole_s * RATE_HZ:
        length = len(samples)
    last = len(samples) - length
    for start in [*range(0, last, hop), last]:
        window = samples[start : start + length]
        times = start / RATE_HZ, (start + len(window)) / RATE_HZ
        yield _Window(i, *times, embed_voice(window))


def _cluster(windows: Sequence[_Window], config: DiarizationConfig) -> Labels:
    """Return the speaker of each window, by average linkage of cosine distances.

    Source: the clustering of pyannote.audio 2 and of WeSpeaker's recipes.
    """
    vectors = np.stack([window.vector for window in windows])  # (n_windows, 192)
    lengths_s = np.array([window.end_s - window.start_s for window in windows])
    chosen = np.flatnonzero(lengths_s >= min(config.min_window_s, lengths_s.max()))
    if len(chosen) > config.max_windows:
        chosen = np.random.default_rng(0).choice(chosen, config.max_windows, replace=False)
    kept = groups = np.ones(len(chosen), np.int64)
    if len(chosen) > 1:
        tree = scipy.cluster.hierarchy.linkage(vectors[chosen], "average", metric="cosine")
        groups, kept = _cut_tree(tree, lengths_s[chosen], config)
    means = np.stack([vectors[chosen][groups == group].mean(axis=0) for group in np.unique(kept)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(np.argmax(vectors @ means.T, axis=1), np.int64)


def _cut_tree(
    tree: npt.NDArray[np.float64], lengths_s: Numbers, config: DiarizationConfig
) -> tuple[Labels, Labels]:
    """Return the group of each window, and the groups that are speakers, the longest at least.

    Where the number of speakers is known, the tree is cut where it has as many long groups.
    """
    n_speakers = config.n_speakers
    if n_speakers is None:
        groups = scipy.cluster.hierarchy.fcluster(tree, config.max_distance, "distance")
        total_s = np.bincount(groups, lengths_s)
        least_s = min(config.min_speech_s, total_s.max())
        return groups, np.flatnonzero(total_s >= least_s)
    for n_groups in range(n_speakers, len(lengths_s) + 1):
        groups = scipy.cluster.hierarchy.fcluster(tree, n_groups, "maxclust")
        total_s = np.bincount(groups, lengths_s)
        if (total_s >= config.min_speech_s).sum() >= n_speakers:
            return groups, np.argsort(total_s)[-n_speakers:]
    groups = scipy.cluster.hierarchy.fcluster(tree, n_speakers, "maxclust")
    return groups, np.unique(groups)


def _split(
    segment: Segment, windows: Sequence[_Window], labels: Labels
) -> Iterator[tuple[Segment, int]]:
    """Yield the parts of a segment with their speakers; a change needs two windows in a row."""
    if not windows:
        return
    if segment.text is not None or len(windows) < 3:
        yield segment, int(np.bincount(labels).argmax())
        return
    smooth = labels.copy()
    for i in range(len(labels)):
        near = labels[max(0, i - 1) : i + 2]
        if (near == labels[i]).sum() == 1:
            smooth[i] = smooth[i - 1] if i else labels[1]
    start_s = segment.start_s
    for i, (label, following) in enumerate(itertools.pairwise(smooth)):
        if label != following:
            middle_s = (windows[i + 1].start_s + windows[i].end_s) / 2
            end_s = round(segment.start_s + middle_s, 3)
            yield replace(segment, start_s=start_s, end_s=end_s), int(label)
            start_s = end_s
    yield replace(segment, start_s=start_s), int(smooth[-1])


def name_channels(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield segments, those of a channel and of no speaker as of the speaker `channel 1` …."""
    for segment in segments:
        if segment.speaker is None and segment.channel is not None:
            yield replace(segment, speaker=f"channel {segment.channel + 1}")
        else:
            yield segment


def adapt_speakers(segments: Sequence[Segment]) -> list[Segment]:
    """Return segments whose answers are adapted to the voice of their speaker.

    Each answer is adapted by the speaker's others, see `Reference`; by how much depends on their
    number and variety. Segments without speaker or prediction stay as they are.
    """
    adapted = list(segments)
    for speaker in {segment.speaker for segment in segments if segment.speaker is not None}:
        own = [
            (i, segment.prediction)
            for i, segment in enumerate(segments)
            if segment.speaker == speaker and segment.prediction
        ]
        together = adapt_together([prediction for _, prediction in own])
        for (i, _), prediction in zip(own, together, strict=True):
            adapted[i] = replace(segments[i], prediction=prediction)
    return adapted


def summarise_speakers(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    """Return a row for each speaker, in plain JSON types, in the order of their names.

    Returns:
        `speaker`, `n_segments`, `speech_s`, `emotion`, the most probable one, and `probabilities`,
        the mean by emotion, each segment counting by its length; both None without predictions.
    """
    rows = []
    by_speaker = defaultdict[str, list[Segment]](list)
    for segment in segments:
        by_speaker[segment.speaker or ""].append(segment)
    for speaker, own in sorted(by_speaker.items()):
        known = [(s.prediction, s.end_s - s.start_s) for s in own if s.prediction]
        probabilities = None
        if known:
            means = np.average(
                [p.probabilities for p, _ in known], axis=0, weights=[w for _, w in known]
            )
            probabilities = dict(zip(known[0][0].labels, means.tolist(), strict=True))
        rows.append(
            {
                "speaker": speaker or None,
                "n_segments": len(own),
                "speech_s": round(sum(s.end_s - s.start_s for s in own), 3),
                "emotion": max(probabilities, key=lambda e: probabilities[e])
                if probabilities
                else None,
                "probabilities": probabilities,
            }
        )
    return rows
