"""The model card: written from the manifest, so that it says what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ser_core.model.manifest import Manifest
from ser_lab.evaluate.records import read_json
from ser_lab.evaluate.runs import SUMMARY

CAPTIONS = {
    "confusion_test": "Confusion on the test speakers",
    "confusion_development": "Confusion on the development speakers",
    "calibration": "Accuracy by confidence, test speakers",
    "curves": "Loss and accuracy by epoch",
}
"""What stands below each picture, by its name."""

TEXT = """\
---
license: {licence_tag}
{language}library_name: keras
pipeline_tag: audio-classification
tags:
  - speech-emotion-recognition
  - lstm
metrics:
  - recall
  - accuracy
---

# MoodMirror `{name}` {version}

Takes a speech recording and returns probabilities for {labels}.

| | |
|---|---|
| network | {network} |
| parameters | {n_parameters:,} |
| input | {columns} per frame of {frame_ms:.0f} ms every {hop_ms:.0f} ms, at {rate_hz:,} Hz |
| seed of this file | {seed}, the best of {n_seeds} on the development speakers |
| temperature | {temperature:.3f}, fitted on the development speakers |
| certain | confidence of at least {certainty} |
| size | {size_mb:.1f} MB in this folder{encoder_size} |
| speed | {median_ms:.0f} ms from file to answer, median of {n_timed} clips of about \
{median_clip_s:.1f} s on {machine} |
| code | commit `{commit}` |
| licence of the weights | {licence} |

## Training data

{corpora}

Development speakers, used to choose the epoch, the seed and the temperature: {development}.
Test speakers, used only for the figures below: {test}.

## Figures on the test speakers

{n_clips:,} clips, each analysed as a file by the serving pipeline.

| figure | this file | all seeds |
|---|---|---|
| UAR, mean of the per-emotion recalls | **{uar:.1%}** (95% interval {low:.1%} to {high:.1%}) | \
{seed_mean:.1%} ± {seed_sd:.1%} ({seed_list}) |
| WAR, share of correct clips | {war:.1%} | |
| expected calibration error, 15 bins | {ece:.3f} | |

| test speakers of | clips | emotions | UAR | WAR | calibration error |
|---|---|---|---|---|---|
{by_corpus}

| test speakers of | clips | UAR | WAR |
|---|---|---|---|
{by_sex}

The first table covers all clips and {n_labels} emotions, where guessing gives {chance:.1%}; the
others cover each corpus with the emotions that it contains. Reproduce with:

```
{command}
```

| emotion | precision | recall | F1 | clips |
|---|---|---|---|---|
{per_emotion}

{pictures}

The interval is a bootstrap over clips; ± is the standard deviation over {n_seeds} runs of the same
recipe with different seeds. {n_test} test speakers are few: other speakers may change the figures
by several points.

## Figures by protocol

These figures are not of this file, but of the same recipe, trained in each fold and tested on
unseen speakers or an unseen corpus. `docs/figures.md` in the repository has the settings, the
records and published systems for comparison.

{protocols}

## Limits

- {recorded} Other languages, ages, microphones and rooms were not tested.
- It recognises a style of speaking, not what a person feels.
- It always answers with one of its emotions, even if none of them fits.

## Out of scope

Policing, hiring, grading, surveillance, medical or psychological diagnosis, or any other decision
about a person.

{citations}"""

ACTED = (
    "The corpora are acted, in English, in studios, by a few dozen people. Real feelings are "
    "subtler."
)
"""Whose voices limit a model that learned from published corpora."""
OWN = "It was trained on the recordings of one table only, and on the people who speak in them."
"""Whose voices limit a model that learned from somebody's own table."""


CARD = "README.md"
FIGURES = "figures"
RUNS = Path("docs", "runs")
"""Folder of all run records, from the project's root."""
PROTOCOL_COMMAND = "python -m ser_core evaluate"


def write_card(folder: Path, *, runs: Path = RUNS) -> None:
    """Write `README.md` of a model folder from its manifest and its recipe's run records.

    Args:
        folder: A model folder whose manifest holds test figures.
        runs: Folder of all records.
    """
    manifest = Manifest.read(folder)
    pictures = "\n".join(
        f"![{caption}]({FIGURES}/{name}.png)"
        for name, caption in CAPTIONS.items()
        if (folder / FIGURES / f"{name}.png").exists()
    )
    card = TEXT.format(
        **_fields(manifest),
        **_figures(manifest),
        **_size(manifest, folder),
        pictures=pictures,
        protocols=_protocols(manifest, runs),
    )
    (folder / CARD).write_text(card, encoding="utf-8")


def _fields(manifest: Manifest) -> dict[str, Any]:
    """What the model is."""
    pipeline = manifest.pipeline
    rate_hz = pipeline.audio.sample_rate_hz
    is_published = any(corpus["citation"] for corpus in manifest.corpora)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "licence_tag": manifest.licence.lower(),
        "labels": ", ".join(manifest.labels),
        "n_labels": len(manifest.labels),
        "network": _network(manifest),
        "n_parameters": manifest.n_parameters,
        "columns": f"{len(manifest.columns)} columns ({', '.join(pipeline.features.groups)})",
        "frame_ms": 1_000 * pipeline.features.frame_length / rate_hz,
        "hop_ms": 1_000 * pipeline.features.hop_length / rate_hz,
        "rate_hz": rate_hz,
        "seed": manifest.seed,
        "temperature": manifest.temperature,
        "commit": manifest.commit,
        "corpora": "\n".join(
            f"- {c['title']} (`{c['name']}`), {c['n_training_clips']:,} clips, {c['licence']}"
            for c in manifest.corpora
        ),
        "citations": _citations(manifest),
        "recorded": ACTED if is_published else OWN,
        "language": "language: en\n" if is_published else "",
        "n_test": len(manifest.split["test"]),
        "development": ", ".join(manifest.split["development"]),
        "test": ", ".join(manifest.split["test"]),
    }


def _citations(manifest: Manifest) -> str:
    """Where the corpora are published, those that are."""
    lines = dict.fromkeys(
        f"- {c['citation']} <{c['source']}>" for c in manifest.corpora if c["citation"]
    )
    return "\n".join(["## Sources", "", *lines, ""]) if lines else ""


def _network(manifest: Manifest) -> str:
    """The network in a line."""
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
        f"blocks {blocks} of the encoder of `{manifest.encoder.repo}` (MIT, 8.2 million "
        f"parameters, as published), under {len(networks)} heads with attentive pooling whose "
        f"logits are averaged (memory: {heads}); the parameters below are the heads'"
    )


def _figures(manifest: Manifest) -> dict[str, Any]:
    """What was measured."""
    test: dict[str, Any] = manifest.metrics["test"]
    uars = np.array(list(test["seed_uars"].values()))
    return {
        "n_seeds": len(uars),
        "seed_mean": uars.mean(),
        "seed_sd": uars.std(ddof=1) if len(uars) > 1 else 0.0,
        "seed_list": ", ".join(f"{uar:.1%}" for uar in uars),
        "low": test["uar_interval"][0],
        "high": test["uar_interval"][1],
        **_speed(test["speed"]),
        "certainty": _certainty(manifest),
        "by_sex": "\n".join(
            f"| {name} | {part['n_clips']:,} | {part['uar']:.1%} | {part['war']:.1%} |"
            for name, part in test["by_sex"].items()
        ),
        "chance": 1.0 / len(manifest.labels),
        "per_emotion": "\n".join(
            f"| {label} | {row['precision']:.1%} | {row['recall']:.1%} | {row['f1']:.1%} "
            f"| {row['support']:.0f} |"
            for label, row in test["per_emotion"].items()
        ),
        "by_corpus": "\n".join(
            f"| {corpus} | {part['n_clips']:,} | {len(part['per_emotion'])} | {part['uar']:.1%} "
            f"| {part['war']:.1%} | {part['ece']:.3f} |"
            for corpus, part in test["by_corpus"].items()
        ),
        **{key: test[key] for key in ("n_clips", "uar", "war", "ece", "command")},
    }


def _speed(speed: Mapping[str, Any]) -> dict[str, Any]:
    machine = speed["machine"]
    return {
        "median_ms": speed["median_ms"],
        "median_clip_s": speed["median_clip_s"],
        "n_timed": speed["n_clips"],
        "machine": f"{machine['cores']} cores of {machine['cpu']}",
    }


def _certainty(manifest: Manifest) -> str:
    certainty = manifest.certainty
    if certainty is None:
        return "0; this model marks no answer as uncertain"
    return (
        f"{certainty.confidence:.2f}: {certainty.share:.0%} of the answers to development "
        f"speakers, {certainty.precision:.0%} of them correct"
    )


def _size(manifest: Manifest, folder: Path) -> dict[str, Any]:
    size = sum((folder / path).stat().st_size for path in manifest.files)
    encoder = "" if manifest.encoder is None else ", plus the encoder's 33 MB in float32"
    return {"size_mb": size / 1e6, "encoder_size": encoder}


def _protocols(manifest: Manifest, runs: Path) -> str:
    """A line for each protocol that the model's recipe has been through."""
    lines = ["| protocol | UAR | 95% | seeds | WAR | ECE | reproduce with |", "|" + "---|" * 7]
    for path in sorted(runs.glob(f"*/{manifest.name}/{SUMMARY}")):
        figures = read_json(path)
        low, high = figures["uar"]["interval"]
        n_seeds = len(figures["seeds"])
        command = f"{PROTOCOL_COMMAND} {figures['protocol']} --recipe {manifest.name}"
        lines.append(
            f"| `{figures['protocol']}` | {figures['uar']['mean']:.1%} | {low:.1%} to {high:.1%} "
            f"| {n_seeds} | {figures['war']['mean']:.1%} | {figures['ece']['mean']:.3f} "
            f"| `{command} --seeds {n_seeds}` |"
        )
    return "\n".join(lines) if len(lines) > 2 else "None yet."
