"""Pure functions that draw the tab about the models, their figures, limits and licences."""

from collections.abc import Sequence
from html import escape

from ser_core.config import AudioConfig
from ser_core.manifest import Manifest
from ser_core.web import drawing, notes, words
from ser_core.web.language import say


def describe_models(
    manifests: Sequence[Manifest], audio: AudioConfig, privacy: tuple[str, str]
) -> str:
    """Everything that a visitor may want to know before he believes an answer.

    Args:
        manifests: Of the models that are open.
        audio: What the page can take.
        privacy: Heading and text on what becomes of a clip.
    """
    sections: list[notes.Note] = [
        notes.what_it_hears(),
        notes.never_for(),
        notes.limits(audio),
        (privacy[0], (privacy[1],)),
    ]
    models = "".join(_model(manifest) for manifest in manifests)
    return f'{drawing.notes(sections)}<div class="mm-models">{models}</div>'


def _model(manifest: Manifest) -> str:
    heading, points = notes.about_model(manifest)
    items = "".join(f"<li>{escape(point)}</li>" for point in points)
    return (
        f'<section class="mm-about"><h2>{escape(heading)}</h2><ul class="mm-list">{items}</ul>'
        f"{_figures(manifest)}</section>"
    )


def _figures(manifest: Manifest) -> str:
    """Measured figures: each tested corpus, then each emotion; nothing where none is known."""
    test = manifest.metrics.get("test", {})
    by_corpus = test.get("by_corpus", {})
    if not by_corpus:
        return ""
    corpora = [
        [
            name,
            f"{part['n_clips']:,}",
            words.percent(part["uar"]),
            words.between(*part["uar_interval"]),
            words.percent(part["war"]),
            f"{part['ece']:.3f}",
        ]
        for name, part in by_corpus.items()
    ]
    emotions = [
        [
            words.emotion(emotion),
            str(int(row["support"])),
            words.percent(row["recall"]),
            words.percent(row["precision"]),
        ]
        for emotion, row in test.get("per_emotion", {}).items()
    ]
    corpus_heads = heads("corpus", "clips", "UAR", "interval", "accuracy", "ECE")
    emotion_heads = heads("emotion", "clips", "heard", "precision")
    return (
        f"{_table(say('figures_by_corpus'), corpus_heads, corpora)}"
        f"{_table(say('figures_by_emotion'), emotion_heads, emotions)}"
        f'<p class="mm-small">{escape(say("figures_meaning"))} '
        f"<code>{escape(str(test.get('command', '')))}</code></p>"
    )


def heads(*names: str) -> list[str]:
    """Heads of columns; what is no word of a catalogue is called alike in every language."""
    return [name if name.isupper() else say(f"head_{name}") for name in names]


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [(first, "".join(f"<td>{escape(c)}</td>" for c in rest)) for first, *rest in rows]
    return drawing.table("mm-table", caption, heads, lines)
