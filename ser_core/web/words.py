"""The sentences that say what the page is for, what it keeps, and what its models are."""

from collections.abc import Sequence
from math import ceil

from ser_core.batch import BatchScores
from ser_core.config import AudioConfig
from ser_core.explain import Moment
from ser_core.labels import LABELS
from ser_core.live import LiveConfig, LiveSession
from ser_core.model.manifest import Manifest
from ser_core.prediction import Analysis, Prediction
from ser_core.speaker import SpeakerProfile
from ser_core.switch import ModelState
from ser_core.web.language import say

TITLE = "MoodMirror"
NBSP = "\N{NO-BREAK SPACE}"

CLEAR_FROM = 0.85
"""Probability from which an answer is called clear."""
MOSTLY_FROM = 0.5
"""Probability from which one emotion outweighs all others together."""
MENTION_FROM = 0.1
"""Probability from which the second emotion is worth a word."""
MOST_STEPS = 5
"""Changes of emotion that a sentence still tells one by one."""


def texts(prefix: str) -> tuple[str, ...]:
    """The points `prefix_1`, `prefix_2`, … as long as there are any."""
    points: list[str] = []
    while True:
        try:
            points.append(say(f"{prefix}_{len(points) + 1}"))
        except KeyError:
            return tuple(points)


def emotion(name: str) -> str:
    """A label as it is called; one that is none of ours keeps its name."""
    return _called("emotion", name)


def _called(kind: str, name: str) -> str:
    """A label as a phrase of its kind: emotion, adjective or noun."""
    return say(f"{kind}_{name}") if name in LABELS else name


def percent(probability: float) -> str:
    """A probability as a whole percentage, such as `71%`; `<1%` and `>99%` at the ends."""
    if 0.0 < probability < 0.01:
        return say("percent_below")
    if 0.99 < probability < 1.0:
        return say("percent_above")
    return say("percent", value=f"{100 * probability:.0f}")


def seconds(duration_s: float) -> str:
    """A duration or moment as it is said, such as `0.6 s`, `12 s` or `2:05 min`."""
    if duration_s < 59.5:
        return say("seconds", value=_number(duration_s))
    minutes, rest_s = divmod(round(duration_s), 60)
    return say("minutes", minutes=minutes, seconds=f"{rest_s:02d}")


def _number(duration_s: float) -> str:
    return f"{duration_s:.{int(duration_s < 9.95)}f}".removesuffix(".0")


def stretch(start_s: float, end_s: float) -> str:
    """A stretch of a recording, such as `0.3–1.2 s`."""
    if end_s < 59.5:
        return say("seconds", value=f"{_number(start_s)}–{_number(end_s)}")
    return say("stretch", start=seconds(start_s), end=seconds(end_s))


def between(low: float, high: float) -> str:
    """An interval of shares, such as `70–75%`."""
    return say("between", low=f"{100 * low:.0f}", high=percent(high))


def sentence(prediction: Prediction) -> str:
    """The answer in words, such as "Mostly angry (71%), some fear (16%).".

    The smaller the probability, the less sure the words.
    """
    (first, p_first), (second, p_second) = prediction.ranked()[:2]
    leader = _pair(_called("adjective", first), p_first)
    if not prediction.certain:
        other = _pair(_called("adjective", second), p_second)
        return say("sentence_uncertain", first=leader, second=other)
    adverb = "perhaps"
    if p_first >= MOSTLY_FROM:
        adverb = "clearly" if p_first >= CLEAR_FROM else "mostly"
    if p_second < MENTION_FROM:
        return say(f"sentence_{adverb}", first=leader)
    trace = _pair(_called("noun", second), p_second)
    return say(f"sentence_{adverb}_some", first=leader, second=trace)


def _pair(word: str, probability: float) -> str:
    """Word and percentage, never parted at a line's end."""
    return say("pair", word=word, percent=percent(probability))


def agreement(answers: Sequence[Prediction]) -> str:
    """Whether several models say the same."""
    if len(answers) == 1:
        return say("agreement_one", model=answers[0].model)
    if len({answer.emotion for answer in answers}) == 1:
        return say("agreement", emotion=emotion(answers[0].emotion))
    said = ", ".join(f"{emotion(answer.emotion)} ({answer.model})" for answer in answers)
    return say("disagreement", said=said)


def used_part(prediction: Prediction) -> str:
    """Which part of the clip was judged."""
    return say(
        "used_part",
        stretch=stretch(prediction.speech_start_s, prediction.speech_end_s),
        duration=seconds(prediction.duration_s),
    )


def moment(moment: Moment) -> str:
    """What one moment did for the answer."""
    points = f"{100 * moment.weight:+.0f}"
    return say("moment", stretch=stretch(moment.start_s, moment.end_s), points=points)


def strongest_moment(strongest: Moment, prediction: Prediction) -> str:
    """Which moment spoke loudest for the answer."""
    points = round(100 * strongest.weight)
    named = _called("adjective", prediction.emotion)
    if points < 1:
        return say("moment_none", emotion=named)
    where = stretch(strongest.start_s, strongest.end_s)
    return say("moment_strongest", stretch=where, emotion=named, points=points)


def course(analysis: Analysis) -> str:
    """How the likeliest emotion changes through a long recording."""
    steps: list[str] = []
    last = ""
    for window in analysis.windows:
        k = window.probabilities.index(max(window.probabilities))
        label = analysis.prediction.labels[k]
        if label != last:
            steps.append(say("course_step", emotion=emotion(label), moment=seconds(window.start_s)))
        last = label
    shown = steps if len(steps) <= MOST_STEPS else [*steps[:MOST_STEPS], say("course_more")]
    told = say("course_end", steps=say("course_then").join(shown))
    return told[:1].upper() + told[1:]


def answered_by(prediction: Prediction) -> str:
    """Which model answered, and how fast."""
    if "total" not in prediction.timings_ms:
        return say("answered_by", model=prediction.model)
    return say("answered_in", model=prediction.model, ms=f"{prediction.timings_ms['total']:.0f}")


def live_hint(config: LiveConfig) -> str:
    """What to do on the live tab."""
    return say(
        "live_hint",
        every=seconds(config.every_s),
        window=seconds(config.window_s),
        limit=seconds(config.limit_s),
    )


def live_summary(session: LiveSession) -> str:
    """A session in a sentence, its two largest shares first."""
    (first, p_first), (second, p_second) = list(session.shares().items())[:2]
    leader, heard = _pair(_called("adjective", first), p_first), seconds(session.heard_s)
    if p_second < MENTION_FROM:
        return say("live_summary", first=leader, heard=heard)
    trace = _pair(_called("noun", second), p_second)
    return say("live_summary_some", first=leader, second=trace, heard=heard)


def many_scores(scores: BatchScores) -> str:
    """How often a batch was right, for those files whose names tell the emotion."""
    return say(
        "many_scores",
        n=scores.n_files,
        accuracy=percent(scores.accuracy),
        uar=percent(scores.uar),
    )


def many_progress(n_done: int, n_files: int) -> str:
    """How far a batch is."""
    return say("many_progress", done=n_done, n=n_files)


def many_done(n_files: int, n_failed: int) -> str:
    """What came out of a batch."""
    problems = f" {say('many_problems', n=n_failed)}" if n_failed else ""
    return say("many_done", n=n_files) + problems


def voice_known(profile: SpeakerProfile) -> str:
    """What is known of a visitor's voice."""
    return say("voice_known", model=profile.model, n=len(profile.corrections))


Note = tuple[str, tuple[str, ...]]
"""A heading and its points."""


def privacy(deleted_after_s: int) -> tuple[str, str]:
    """Heading and text on what becomes of a clip.

    Args:
        deleted_after_s: Longest time that a clip stays on the server.
    """
    return say("privacy_heading"), say("privacy", minutes=ceil(deleted_after_s / 60))


def limits(config: AudioConfig) -> Note:
    """What the page can take and where its answers are weak."""
    taken = say(
        "limits_1",
        shortest=f"{config.min_duration_s:g}",
        longest=f"{config.max_duration_s / 60:g}",
        size=config.max_bytes // 1_000_000,
    )
    return say("limits_heading"), (taken, say("limits_2"), say("limits_3"))


def what_it_hears() -> Note:
    """What an answer is, and what it is not."""
    return say("hears_heading"), texts("hears")


def never_for() -> Note:
    """What nobody may use it for."""
    return say("never_heading"), texts("never")


def model_note(state: ModelState, manifest: Manifest) -> str:
    """Which model answers now, and why not a better one."""
    return say(f"note_{state.name.lower()}", name=manifest.name)


def about_model(manifest: Manifest) -> Note:
    """What a model is, its measured share of right answers first."""
    corpora = "; ".join(f"{corpus['title']} ({corpus['licence']})" for corpus in manifest.corpora)
    weights = say(
        "model_weights",
        name=manifest.name,
        version=manifest.version,
        weights=f"{manifest.n_parameters:,}",
        licence=manifest.licence,
    )
    points = (weights, say("model_corpora", corpora=corpora))
    heading = say("model_heading", name=manifest.name)
    return heading, (*_measured(manifest), *_certainty(manifest), *points)


def _measured(manifest: Manifest) -> tuple[str, ...]:
    test = manifest.metrics.get("test")
    if not test:
        return ()
    told = say(
        "model_measured",
        percent=percent(test["uar"]),
        clips=f"{test['n_clips']:,}",
        people=len(manifest.split["test"]),
        chance=percent(1 / len(manifest.labels)),
    )
    return (told,)


def _certainty(manifest: Manifest) -> tuple[str, ...]:
    certainty = manifest.certainty
    if certainty is None:
        return ()
    told = say(
        "model_certainty",
        confidence=percent(certainty.confidence),
        precision=percent(certainty.precision),
    )
    return (told,)
