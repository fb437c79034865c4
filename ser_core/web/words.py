"""Numbers, labels and predictions in the words of the current language."""

import re
from collections.abc import Sequence

from ser_core.explain import Moment
from ser_core.labels import LABELS
from ser_core.live import LiveSession
from ser_core.prediction import Prediction, Window
from ser_core.registry import ACCURATE, COMPACT
from ser_core.segments import Segment
from ser_core.web.language import CATALOGUES, ENGLISH, translate

CLEAR_FROM = 0.85
"""Probability from which a prediction is called clear."""
MOSTLY_FROM = 0.5
"""Probability from which one emotion outweighs all others together."""
MENTION_FROM = 0.1
"""Probability from which the second emotion is mentioned."""
MAX_STEPS = 5
"""Changes of emotion that a sentence lists one by one."""
ERRORS = {
    key: re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(text)))
    for key, text in CATALOGUES[ENGLISH].items()
    if key.startswith("error_")
}
"""Patterns of the messages of errors, which the catalogues translate."""
STRONG_FROM, MEDIUM_FROM = 2 / 3, 1 / 3
"""Intensities from which a recording is called strong, and medium."""
_COUNTED = re.compile(r"(speaker|channel) (\d+)")
"""Names that `ser_core.diarization` gives."""
_NUMBER = re.compile(r"(-?)([\d,]+)\.?(\d*)")


def error(message: str) -> str:
    """Return the message of an error; one that no catalogue has stays as it is, in English."""
    for key, pattern in ERRORS.items():
        if found := pattern.fullmatch(message):
            return translate(
                key, **{name: _value(name, text) for name, text in found.groupdict().items()}
            )
    return message


def _value(name: str, text: str) -> str:
    """Return a value in an error's message."""
    if name in ("model", "other", "others"):
        return ", ".join(map(model, text.split(" and ")))
    if name != "file" and (found := _NUMBER.fullmatch(text)):
        sign, whole, decimals = found.groups()
        return sign + number(float(f"{whole.replace(',', '')}.{decimals or 0}"), len(decimals))
    return text


def number(value: float, decimals: int = 0) -> str:
    """Return a number that is not negative with separators, such as `8,212` or `0.05`."""
    whole, _, rest = f"{value:.{decimals}f}".partition(".")
    group = translate("digits_in_group")
    edges = rf"(?<=\d)(?=(?:\d{{{group}}})*\d{{3}}$)"
    grouped = re.sub(edges, translate("thousands_separator"), whole)
    return f"{grouped}{translate('decimal_point')}{rest}" if rest else grouped


def model(name: str) -> str:
    """Return the name of a model within a sentence, with its version where it has one.

    The name of one's own model stays as it is.
    """
    kind, *version = name.split(" ", 1)
    known = translate(f"model_{kind}").lower() if kind in (ACCURATE, COMPACT) else kind
    return " ".join([known, *version])


def emotion(name: str) -> str:
    """Return the name of a label; one of a model's own labels stays as it is."""
    return _phrase("emotion", name)


def _phrase(kind: str, name: str) -> str:
    """Return a label as an `emotion`, an `adjective` or a `noun`."""
    return translate(f"{kind}_{name}") if name in LABELS else name


def percent(probability: float) -> str:
    """Return a probability as a whole percentage, such as `71%`; `<1%` and `>99%` at the ends."""
    if 0.0 < probability < 0.01:
        return translate("percent_below")
    if 0.99 < probability < 1.0:
        return translate("percent_above")
    return translate("percent", value=f"{100 * probability:.0f}")


def percent_interval(low: float, high: float) -> str:
    """Return an interval of proportions, such as `70–75%`."""
    return translate("between", low=f"{100 * low:.0f}", high=percent(high))


def seconds(duration_s: float, *, decimals: int = 0) -> str:
    """Return a duration or a time, such as `0.6 s`, `12 s` or `2:05 min`.

    Args:
        duration_s: The duration.
        decimals: Decimals of the seconds, from a minute on.
    """
    if duration_s < 59.5:
        return translate("seconds", value=_number(duration_s))
    minutes, rest = _clock(duration_s, decimals)
    return translate("minutes", minutes=minutes, seconds=rest)


def speaker(name: str | None) -> str:
    """Return the name of a speaker, in the page's words where it only counts them."""
    found = _COUNTED.fullmatch(name or "")
    return translate(f"{found[1]}_n", n=found[2]) if found else name or ""


def segment(one: Segment) -> str:
    """Return when a segment is, and its emotion where it has one, such as `2–3 s: angry, 71%`."""
    where = stretch(one.start_s, one.end_s)
    if (p := one.prediction) is None:
        return where
    shown = emotion(p.emotion), percent(p.confidence)
    return translate("passage", stretch=where, emotion=shown[0], percent=shown[1])


def stretch(start_s: float, end_s: float) -> str:
    """Return a stretch of a recording, such as `0.3–1.2 s` or `1:01–1:07 min`."""
    if end_s < 59.5:
        return translate("seconds", value=f"{_number(start_s)}–{_number(end_s)}")
    decimals = 0 if end_s - start_s >= 2 else 1
    start = ":".join(_clock(start_s, decimals))
    return f"{start}–{seconds(end_s, decimals=decimals)}"


def _clock(time_s: float, decimals: int) -> tuple[str, str]:
    minutes, rest_s = divmod(round(time_s, decimals), 60)
    rest = f"{rest_s:0{2 + decimals + bool(decimals)}.{decimals}f}"
    return f"{minutes:.0f}", rest.replace(".", translate("decimal_point"))


def _number(duration_s: float) -> str:
    text = f"{duration_s:.{int(duration_s < 9.95)}f}".removesuffix(".0")
    return text.replace(".", translate("decimal_point"))


def sentence(prediction: Prediction) -> str:
    """Return a prediction as a sentence, such as "Mostly angry (71%), some fear (16%).".

    The lower the confidence, the weaker the adverb.
    """
    (first, p_first), (second, p_second) = prediction.ranked()[:2]
    leader = _pair("adjective", first, p_first)
    if not prediction.certain:
        other = _pair("adjective", second, p_second)
        return translate("sentence_uncertain", first=leader, second=other)
    adverb = "perhaps"
    if p_first >= MOSTLY_FROM:
        adverb = "clearly" if p_first >= CLEAR_FROM else "mostly"
    return _leader_and_trace(f"sentence_{adverb}", leader, second, p_second)


def intensity(prediction: Prediction) -> str:
    """Return how strongly a recording is spoken, as a sentence; empty where it is not known.

    A low estimate says little: voices unlike those that it was fitted to have one, too.
    """
    p = prediction.intensity
    if p is None or p < MEDIUM_FROM or not prediction.is_clear_speech:
        return ""
    return translate("intensity_strong" if p >= STRONG_FROM else "intensity_medium")


def live_sentence(settled: str) -> str:
    """Return the settled emotion of a live session, such as "Mostly angry.", never as clear."""
    return translate("sentence_mostly", first=_phrase("adjective", settled))


def live_summary(session: LiveSession) -> str:
    """Return the two largest shares of a session as a sentence."""
    (first, p_first), (second, p_second) = list(session.shares().items())[:2]
    leader, duration = _pair("adjective", first, p_first), seconds(session.received_s)
    return _leader_and_trace("live_summary", leader, second, p_second, duration=duration)


def _leader_and_trace(key: str, leader: str, second: str, p_second: float, **values: object) -> str:
    """Return a text about the first emotion, and about the second where it is worth it."""
    if p_second < MENTION_FROM:
        return translate(key, first=leader, **values)
    trace = _pair("noun", second, p_second)
    return translate(f"{key}_some", first=leader, second=trace, **values)


def _pair(kind: str, name: str, probability: float) -> str:
    return translate("pair", word=_phrase(kind, name), percent=percent(probability))


def agreement(predictions: Sequence[Prediction]) -> str:
    """Return whether the predictions of several models agree."""
    if len(predictions) == 1:
        return translate("agreement_one", model=model(predictions[0].model))
    if len({prediction.emotion for prediction in predictions}) == 1:
        return translate("agreement", emotion=emotion(predictions[0].emotion))
    results = ", ".join(f"{emotion(p.emotion)} ({model(p.model)})" for p in predictions)
    return translate("disagreement", results=results)


def used_part(prediction: Prediction) -> str:
    """Return which part of the clip was analysed."""
    return translate(
        "used_part",
        stretch=stretch(prediction.speech_start_s, prediction.speech_end_s),
        duration=seconds(prediction.duration_s),
    )


def moment(moment: Moment) -> str:
    """Return the effect of one moment on the prediction."""
    points = f"{100 * moment.weight:+.0f}"
    return translate("moment", stretch=stretch(moment.start_s, moment.end_s), points=points)


def strongest_moment(strongest: Moment, prediction: Prediction) -> str:
    """Return the moment that did most for the prediction, as a sentence."""
    points = round(100 * strongest.weight)
    named = _phrase("adjective", prediction.emotion)
    if points < 1:
        return translate("moment_none", emotion=named)
    where = stretch(strongest.start_s, strongest.end_s)
    return translate("moment_strongest", stretch=where, emotion=named, points=points)


def course(labels: Sequence[str], windows: Sequence[Window]) -> str:
    """Return how the likeliest emotion changes from window to window, as a sentence."""
    text = translate("course_end", steps=_steps(labels, windows))
    return text[:1].upper() + text[1:]


def mixed(labels: Sequence[str], parts: Sequence[Window]) -> str:
    """Return that a recording is mixed, with its course, as a sentence."""
    return translate("sentence_mixed", steps=_steps(labels, parts))


def _steps(labels: Sequence[str], windows: Sequence[Window]) -> str:
    """Return the emotions of windows in order, those that repeat once, as part of a sentence."""
    steps: list[str] = []
    last = ""
    for window in windows:
        label = window.emotion(labels)
        if label != last:
            start = seconds(window.start_s)
            steps.append(translate("course_step", emotion=emotion(label), moment=start))
        last = label
    if len(steps) > MAX_STEPS:
        steps = [*steps[:MAX_STEPS], translate("course_more")]
    return translate("course_then").join(steps)
