"""The tab "About": uses, limits and privacy, and each model's figures and licences."""

from collections.abc import Sequence
from html import escape
from math import ceil

from ser_core.config import AudioConfig
from ser_core.model.manifest import Manifest
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, words
from ser_core.web.cleanup import DELETED_AFTER_S
from ser_core.web.language import translate, translate_all

Note = tuple[str, tuple[str, ...]]
"""A heading and its points."""


DEVICE = "device"
"""Path of the page that analyses recordings in the browser, where it is built."""


def draw_about(models: ModelSwitch, *, has_device_page: bool = False) -> str:
    """Return the whole tab as HTML.

    Args:
        models: Those that are described.
        has_device_page: Whether to link to `DEVICE`.
    """
    recognises = translate("recognises_heading"), translate_all("recognises")
    never = translate("never_heading"), translate_all("never")
    sections = "".join(
        f'<section><h2>{escape(heading)}</h2><ul class="mm-list">{drawing.items(points)}</ul>'
        "</section>"
        for heading, points in (recognises, never, limits(models.config.audio), privacy())
    )
    sections += _device() if has_device_page else ""
    described = "".join(_model(manifest) for manifest in models.manifests)
    return f'<div class="mm-notes">{sections}</div><div class="mm-models">{described}</div>'


def privacy() -> Note:
    """Return what happens to a recording."""
    minutes = ceil(DELETED_AFTER_S / 60)
    return translate("privacy_heading"), (translate("privacy", minutes=minutes),)


def _device() -> str:
    link = f'<a href="{DEVICE}/" target="_blank">{escape(translate("device_link"))}</a>'
    return (
        f"<section><h2>{escape(translate('device_heading'))}</h2>"
        f"<p>{escape(translate('device'))} {link}</p></section>"
    )


def privacy_card() -> str:
    """Return what happens to a recording as a boxed note in HTML."""
    heading, (text,) = privacy()
    return f'<section class="mm-card"><h2>{escape(heading)}</h2><p>{escape(text)}</p></section>'


def limits(audio: AudioConfig) -> Note:
    """Return the limits of a recording, and where predictions are weak."""
    accepted = translate(
        "limits_1",
        shortest=f"{audio.min_duration_s:g}".replace(".", translate("decimal_point")),
        longest=f"{audio.max_duration_s / 60:g}",
        size=audio.max_bytes // 1_000_000,
    )
    return translate("limits_heading"), (accepted, translate("limits_2"), translate("limits_3"))


def describe_model(manifest: Manifest) -> Note:
    """Return a model's accuracy, certainty, size, licence and training corpora."""
    points: list[str] = []
    if test := manifest.metrics.get("test"):
        measured = translate(
            "model_measured",
            percent=words.percent(test["uar"]),
            clips=words.number(test["n_clips"]),
            people=len(manifest.split["test"]),
            chance=words.percent(1 / len(manifest.labels)),
        )
        points.append(measured)
    if certainty := manifest.certainty:
        confidence = words.percent(certainty.confidence)
        precision = words.percent(certainty.precision)
        points.append(translate("model_certainty", confidence=confidence, precision=precision))
    weights = translate(
        "model_weights",
        name=words.model(manifest.name),
        version=manifest.version,
        weights=words.number(manifest.n_parameters),
        licence=manifest.licence,
    )
    corpora = "; ".join(f"{corpus['title']} ({corpus['licence']})" for corpus in manifest.corpora)
    points += [weights, translate("model_corpora", corpora=corpora)]
    return translate("model_heading", name=words.model(manifest.name)), tuple(points)


def _model(manifest: Manifest) -> str:
    heading, points = describe_model(manifest)
    return (
        f'<section class="mm-about"><h2>{escape(heading)}</h2>'
        f'<ul class="mm-list">{drawing.items(points)}</ul>{_figures(manifest)}</section>'
    )


def _figures(manifest: Manifest) -> str:
    """Return the figures by corpus and by emotion; nothing where none were measured."""
    test = manifest.metrics.get("test", {})
    if not test.get("by_corpus"):
        return ""
    corpora = [
        (
            name,
            words.number(part["n_clips"]),
            words.percent(part["uar"]),
            words.percent_interval(*part["uar_interval"]),
            words.percent(part["war"]),
            words.number(part["ece"], 3),
        )
        for name, part in test["by_corpus"].items()
    ]
    emotions = [
        (
            words.emotion(emotion),
            words.number(row["support"]),
            words.percent(row["recall"]),
            words.percent(row["precision"]),
        )
        for emotion, row in test.get("per_emotion", {}).items()
    ]
    corpus_heads = ("corpus", "clips", "UAR", "interval", "accuracy", "ECE")
    return (
        f"{_table('figures_by_corpus', corpus_heads, corpora)}"
        f"{_table('figures_by_emotion', ('emotion', 'clips', 'recall', 'precision'), emotions)}"
        f'<p class="mm-small">{escape(translate("figures_meaning"))} '
        f"<code>{escape(str(test.get('command', '')))}</code></p>"
    )


def _table(key: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # Abbreviations are the same in every language.
    heads = [name if name.isupper() else translate(f"head_{name}") for name in names]
    lines = [(first, "".join(f"<td>{escape(c)}</td>" for c in rest)) for first, *rest in rows]
    return drawing.table("mm-table", translate(key), heads, lines)
