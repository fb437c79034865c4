"""The sentences that say what the page is for, what it keeps, and what its models are."""

from math import ceil

from ser_core.config import AudioConfig
from ser_core.manifest import Manifest
from ser_core.switch import ModelState
from ser_core.web.language import say
from ser_core.web.words import percent, texts

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
