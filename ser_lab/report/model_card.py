"""The model card, written from the manifest so that it states what was measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ser_core.corpora import CORPORA
from ser_core.model.manifest import FILE_NAME, Certainty, Manifest
from ser_core.model.manifest import read_json as read_manifest
from ser_core.model.saved_model import SAVED_MODEL
from ser_core.paths import holds_only
from ser_core.whisper.spec import EncoderConfig
from ser_lab.evaluate.records import read_json
from ser_lab.evaluate.runs import SUMMARY

CARD, FIGURES = "README.md", "figures"
RUNS = Path("docs", "runs")
"""Folder of all run records, from the project's root."""
SUMMARY_TEXT = "summary.txt"
"""File among the figures with Keras's summary of the network."""
CAPTIONS = {
    "confusion_test": "Confusion on the test speakers",
    "confusion_development": "Confusion on the development speakers",
    "calibration": "Accuracy by confidence, test speakers",
    "curves": "Loss and accuracy by epoch",
    "network": "Layers of the network that was trained",
}
"""Captions by the name of the chart."""
ACTED = "The corpora are acted, most of them in studios. Real feelings are subtler."
"""Limit of a model that was trained on published corpora."""
DEVELOPMENT = "the development speakers"
"""On whom a model is calibrated, unless its metrics say `calibrated_on`."""
CUSTOM = "It was trained on the recordings of one table only, and on the people who speak in them."
"""Limit of a model that was trained on a custom table."""
_TEMPLATE = Path(__file__).with_name("card.md")
_INTENSITY = Path(__file__).with_name("card_intensity.md")


def write_card(folder: Path, *, runs: Path = RUNS) -> None:
    """Write `README.md` of a model folder from its manifest and its recipe's run records.

    Args:
        folder: A model folder whose manifest holds test figures.
        runs: Folder of all records.
    """
    manifest = Manifest.read(folder)
    pictures = [
        f"![{caption}]({FIGURES}/{name}.png)"
        for name, caption in CAPTIONS.items()
        if (folder / FIGURES / f"{name}.png").exists()
    ]
    size = sum((folder / path).stat().st_size for path in manifest.files)
    card = _TEMPLATE.read_text(encoding="utf-8").format(
        **_fields(manifest),
        **_figures(manifest.metrics["test"]),
        size_mb=size / 1e6,
        pictures="\n".join(pictures),
        protocols=_protocols(manifest.name, runs),
    )
    (folder / CARD).write_text(card, encoding="utf-8")


def is_model_folder(folder: Path) -> bool:
    """Return whether a folder is empty, or a model folder without other files."""
    if not (folder / FILE_NAME).is_file():
        return holds_only(folder, ())
    pictures = [f"{FIGURES}/{name}.png" for name in CAPTIONS] + [f"{FIGURES}/{SUMMARY_TEXT}"]
    names = (FILE_NAME, CARD, f"{SAVED_MODEL}/assets")  # a folder without files
    return holds_only(folder, [*names, *read_manifest(folder)["files"], *pictures])


def _fields(manifest: Manifest) -> dict[str, Any]:
    features = manifest.pipeline.features
    people = manifest.metrics.get("calibrated_on", DEVELOPMENT)
    ms_per_sample = 1_000 / manifest.pipeline.audio.sample_rate_hz
    cited = dict.fromkeys(
        f"- {c['citation']} <{c['source']}>" for c in manifest.corpora if c["citation"]
    )
    return {
        "manifest": manifest,
        "licence_tag": manifest.licence.lower(),
        "labels": ", ".join(manifest.labels),
        "label_list": "\n".join(f"  - {json.dumps(label)}" for label in manifest.labels),
        "model_index": _model_index(manifest),
        "n_labels": len(manifest.labels),
        "chance": 1.0 / len(manifest.labels),
        "network": _network(manifest),
        "columns": f"{len(manifest.columns)} columns ({', '.join(features.groups)})",
        "frame_ms": ms_per_sample * features.frame_length,
        "hop_ms": ms_per_sample * features.hop_length,
        "certainty": _certainty(manifest.certainty, people),
        "intensity": _intensity(manifest.metrics.get("intensity")),
        "encoder_size": _encoder_size(manifest.encoder),
        "corpora": "\n".join(
            f"- {c['title']} (`{c['name']}`), {c['n_training_clips']:,} clips, {c['licence']}"
            for c in manifest.corpora
        ),
        "citations": "\n".join(["## Sources", "", *cited, ""]) if cited else "",
        "recorded": ACTED if cited else CUSTOM,
        "languages": _languages(manifest),
        "people": people,
        "n_test": len(manifest.split["test"]),
        "development": _development(manifest),
        "test_speakers": ", ".join(manifest.split["test"]),
    }


def _development(manifest: Manifest) -> str:
    """Return the use of the development speakers, or what a fine-tuned model started from."""
    if speakers := manifest.split["development"]:
        return (
            f"Development speakers, used to choose the epoch and the seed: {', '.join(speakers)}."
        )
    start = manifest.metrics["start"]
    text = (
        f"It is {start['name']} with its last layer fine-tuned on the recordings of the table; the "
        "figures below are of speakers who were held out from that."
    )
    if "uar" in start:
        text += (
            f" Before, the UAR was {start['uar']:.1%} and the calibration error {start['ece']:.3f}."
        )
    return text


def _model_index(manifest: Manifest) -> str:
    """Return the figures of each test corpus in YAML, as the Hub shows them beside the card.

    Source: the Hugging Face Hub's model card metadata; JSON is YAML, too.
    """
    titles = {corpus["name"]: corpus["title"] for corpus in manifest.corpora}
    results = [
        {
            "task": {"type": "audio-classification", "name": "Speech emotion recognition"},
            "dataset": {"type": name, "name": f"{titles.get(name, name)}, test speakers"},
            "metrics": [
                {"type": "recall", "name": "UAR", "value": round(part["uar"], 4)},
                {"type": "accuracy", "name": "WAR", "value": round(part["war"], 4)},
            ],
        }
        for name, part in manifest.metrics["test"]["by_corpus"].items()
    ]
    lines = [f"      - {json.dumps(result, ensure_ascii=False)}" for result in results]
    return "\n".join([f"  - name: MoodMirror {manifest.name}", "    results:", *lines])


def _languages(manifest: Manifest) -> str:
    """Return the languages of the published corpora, for the card's head."""
    names = [corpus["name"] for corpus in manifest.corpora]
    codes = dict.fromkeys(CORPORA[name].language for name in names if name in CORPORA)
    return "language:\n" + "".join(f"  - {code}\n" for code in codes) if codes else ""


def _network(manifest: Manifest) -> str:
    """Return the network in a line."""
    architecture = manifest.architecture
    if "network" in architecture:
        network = architecture["network"]
        return f"LSTM layers of {network['units']} units, dropout {network['dropout']}"
    networks = architecture["training"]["networks"]
    if manifest.encoder is None:
        (network,) = networks
        return (
            f"convolutions of {network['filters']} filters over time under BiLSTM layers of "
            f"{network['units']} units each way with attentive pooling, distilled from the "
            "accurate model"
        )
    blocks = ", ".join(str(block) for block in manifest.encoder.blocks)
    heads = ", ".join(
        f"a BiLSTM of {head['units']} units each way" if head["units"] else "none"
        for head in networks
    )
    return (
        f"blocks {blocks} of the encoder of `{manifest.encoder.repo}` (MIT, "
        f"{manifest.encoder.size.n_parameters / 1e6:.1f} million parameters, as published), under "
        f"{len(networks)} heads with attentive pooling whose logits are averaged (memory: "
        f"{heads}); the parameters below are the heads'"
    )


def _encoder_size(encoder: EncoderConfig | None) -> str:
    if encoder is None:
        return ""
    return f", plus the encoder's {4 * encoder.size.n_parameters / 1e6:.0f} MB in float32"


def _certainty(certainty: Certainty | None, people: str) -> str:
    if certainty is None:
        return "0; this model marks no answer as uncertain"
    return (
        f"{certainty.confidence:.2f}: {100 * certainty.share:.2g}% of the answers about {people}, "
        f"{certainty.precision:.0%} of them correct"
    )


def _intensity(figures: dict[str, Any] | None) -> str:
    """Return the section on the intensity; nothing for a model without."""
    if figures is None:
        return ""
    lines = [
        f"| {corpus} | {part['n_clips']:,} | {part['n_speakers']} | {part['auc']:.2f} "
        f"| {part['interval'][0]:.2f} to {part['interval'][1]:.2f} |"
        for corpus, part in figures["by_corpus"].items()
    ]
    template = _INTENSITY.read_text(encoding="utf-8")
    return template.format(
        table="\n".join(lines), plain=", ".join(figures["plain"]), ece=figures["ece"],
        command=figures["command"],
    )  # fmt: skip


def _figures(test: dict[str, Any]) -> dict[str, Any]:
    uars = np.array(list(test["seed_uars"].values()))
    return {
        "test": test,
        "n_seeds": len(uars),
        "seed_mean": uars.mean(),
        "seed_sd": uars.std(ddof=1) if len(uars) > 1 else 0.0,
        "seed_list": ", ".join(f"{uar:.1%}" for uar in uars),
        "by_corpus": "\n".join(
            f"| {corpus} | {part['n_clips']:,} | {len(part['per_emotion'])} | {part['uar']:.1%} "
            f"| {part['war']:.1%} | {part['ece']:.3f} |"
            for corpus, part in test["by_corpus"].items()
        ),
        "by_sex": "\n".join(
            f"| {name} | {part['n_clips']:,} | {part['uar']:.1%} | {part['war']:.1%} |"
            for name, part in test["by_sex"].items()
        ),
        "per_emotion": "\n".join(
            f"| {label} | {row['precision']:.1%} | {row['recall']:.1%} | {row['f1']:.1%} "
            f"| {row['support']:.0f} |"
            for label, row in test["per_emotion"].items()
        ),
    }


def _protocols(recipe: str, runs: Path) -> str:
    """Return a table of the figures of a recipe in every protocol that it was run through."""
    lines = ["| protocol | UAR | 95% | seeds | WAR | ECE | reproduce with |", "|" + "---|" * 7]
    for path in sorted(runs.glob(f"*/{recipe}/{SUMMARY}")):
        figures = read_json(path)
        uar, protocol, n_seeds = figures["uar"], figures["protocol"], len(figures["seeds"])
        low, high = uar["interval"]
        command = f"evaluate {protocol} --recipe {recipe} --seeds {n_seeds}"
        lines.append(
            f"| `{protocol}` | {uar['mean']:.1%} | {low:.1%} to {high:.1%} | {n_seeds} "
            f"| {figures['war']['mean']:.1%} | {figures['ece']['mean']:.3f} "
            f"| `python -m ser_core {command}` |"
        )
    return "\n".join(lines) if len(lines) > 2 else "None yet."
