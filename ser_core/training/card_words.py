"""What the model card says beside its figures."""

CAPTIONS = {
    "confusion_test": "Confusion on the test speakers",
    "confusion_development": "Confusion on the development speakers",
    "calibration": "Share of right answers by confidence, test speakers",
    "curves": "Loss and accuracy by epoch",
}
"""What stands below each picture, by its name."""

TEXT = """\
---
license: {licence_tag}
{language}library_name: tf-keras
pipeline_tag: audio-classification
tags:
  - speech-emotion-recognition
  - lstm
metrics:
  - recall
  - accuracy
---

# MoodMirror `{name}` {version}

Hears one recording of speech and gives probabilities for {labels}.

| | |
|---|---|
| network | {network} |
| parameters | {n_parameters:,} |
| input | {columns} per frame of {frame_ms:.0f} ms every {hop_ms:.0f} ms, at {rate_hz:,} Hz |
| seed of this file | {seed}, the best of {n_seeds} on the development speakers |
| temperature | {temperature:.3f}, fitted on the development speakers |
| certain | from a confidence of {certainty} |
| size | {size_mb:.1f} MB in this folder{encoder_size} |
| speed | {median_ms:.0f} ms from file to answer, median of {n_timed} clips of about \
{median_clip_s:.1f} s on {machine} |
| code | commit `{commit}` |
| licence of the weights | {licence} |

## Whose voices it learned from

{corpora}

Development speakers, who chose the epoch, the seed and the temperature: {development}.
Test speakers, never seen before the figures below: {test}.

## Figures on the test speakers

{n_clips:,} clips, each sent as a file through the path that serves visitors.

| figure | this file | all seeds |
|---|---|---|
| UAR, mean of the per-emotion recalls | **{uar:.1%}** (95 % interval {low:.1%} to {high:.1%}) | \
{seed_mean:.1%} ± {seed_sd:.1%} ({seed_list}) |
| WAR, share of clips that are right | {war:.1%} | |
| expected calibration error, 15 bins | {ece:.3f} | |

| test speakers of | clips | emotions | UAR | WAR | calibration error |
|---|---|---|---|---|---|
{by_corpus}

| test speakers of | clips | UAR | WAR |
|---|---|---|---|
{by_sex}

The upper table takes all clips together among {n_labels} emotions, of which guessing gets
{chance:.1%}; the lower ones take each corpus among the emotions that it has. Repeat with:

```
{command}
```

| emotion | precision | recall | F1 | clips |
|---|---|---|---|---|
{per_emotion}

{pictures}

The interval draws clips with replacement; the spread over seeds is a standard deviation over
{n_seeds} runs of the same recipe. {n_test} test speakers are few: others may
move the figure by several points.

## Figures by protocol

Not of this file: the same recipe trained anew in each fold, its test speakers or corpus never
heard. Settings, records and published systems beside it: `docs/figures.md` of the repository.

{protocols}

## Limits

- {recorded} Other languages, ages, microphones and rooms were not heard.
- It hears the style of a voice, not what a person feels.
- It always answers with one of its emotions, even where none of them fits.

## Not for

Policing, hiring, grading, surveillance, medical or psychological diagnosis, or any decision about
a person.

{citations}"""

ACTED = (
    "The corpora are acted, in English, in studios, by a few dozen people. Real feelings are "
    "subtler."
)
"""Whose voices limit a model that learned from published corpora."""
OWN = "It knows the recordings of one table alone, and who speaks in them."
"""Whose voices limit a model that learned from somebody's own table."""
