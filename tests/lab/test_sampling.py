"""Training on sampled batches: samples, targets, ensembles, distillation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_lab.data.augment import Augmentation, Changes
from ser_lab.data.feature_store import Clips
from ser_lab.train.architectures import HeadConfig, StudentConfig
from ser_lab.train.loop import (
    known_labels,
    predict_logits,
    sampling_weights,
    soft_targets,
    train_ensemble,
)
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.compact import CompactRecipe
from ser_lab.train.sampling import (
    CopyPlan,
    DistillationTargets,
    SampledBatches,
    SampledTraining,
    TrainingClips,
    load_copies,
)

SMALL = SampledTraining(
    networks=(
        HeadConfig(
            n_blocks=2, input_blocks=(0, 1), projection=16, units=8, attention=8, dropout=0.1
        ),
    ),
    steps=150,
    batch_size=16,
    crop=10,
    learning_rate=1e-2,
)


def clips(n_clips: int = 120) -> tuple[list[np.ndarray], np.ndarray]:
    """Two easy emotions: the first column lies higher in one of them."""
    random = np.random.default_rng(0)
    truth = np.arange(n_clips) % 2
    vectors = [
        (random.normal(size=(random.integers(4, 16), 8)) + 2 * label * (np.arange(8) == 0)).astype(
            np.float16
        )
        for label in truth
    ]
    return vectors, truth


def batches(
    config: SampledTraining = SMALL,
    *,
    copies: list[list[np.ndarray | None]] | None = None,
    weights: np.ndarray | None = None,
    mean: float = 0.0,
) -> SampledBatches:
    vectors, truth = clips()
    training = TrainingClips(
        [vectors, *(copies or [])],
        np.eye(2, dtype=np.float32)[truth],
        np.ones(120) if weights is None else weights,
    )
    return SampledBatches(training, config, mean=[mean] * 8, seed=0)


def easy_clips(**parts: object) -> TrainingClips:
    vectors, truth = clips()
    return TrainingClips([vectors], soft_targets(truth, 0.1), np.ones(120), **parts)


def test_batches_have_one_shape_and_distributions_as_targets() -> None:
    for index in range(5):
        inputs, targets = batches()[index]
        assert inputs[0].shape == (16, 10, 8)
        assert inputs[1].max() <= 10
        np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-5)


def test_batches_repeat_by_seed_and_differ_by_index() -> None:
    first, again, other = batches()[0], batches()[0], batches()[1]
    np.testing.assert_array_equal(first[0][0], again[0][0])
    assert not np.array_equal(first[0][0], other[0][0])


def test_masked_vectors_are_the_mean() -> None:
    inputs, _ = batches(replace(SMALL, time_mask=0.9, mixup=0), mean=7.0)[0]
    filled = (inputs[0] == 7.0).all(axis=2).sum()
    assert filled > 0.1 * inputs[1].sum()


def test_what_lies_past_a_clips_end_is_the_mean() -> None:
    (vectors, n_vectors), _ = batches(replace(SMALL, time_mask=0.0, mixup=0), mean=7.0)[0]
    short = int(n_vectors.argmin())
    assert n_vectors[short] < 10
    past = np.arange(10) >= n_vectors[:, None]
    assert past[short].any()
    assert (vectors[past] == 7.0).all()


def test_samples_follow_the_weights() -> None:
    _, truth = clips()
    _, targets = batches(weights=np.where(truth == 1, 1.0, 0.0))[0]
    assert (targets[:, 1] == 1.0).all()


def test_changed_copies_take_their_share_of_the_samples() -> None:
    vectors, _ = clips()
    copy = [None if i < 60 else np.full_like(clip, 50.0) for i, clip in enumerate(vectors)]
    config = replace(SMALL, changed_share=0.5, batch_size=400, time_mask=0.0, mixup=0)
    inputs, _ = batches(config, copies=[copy], weights=np.where(np.arange(120) < 60, 0.0, 1.0))[0]
    assert (inputs[0][:, 0, 0] == 50.0).mean() == pytest.approx(0.5, abs=0.1)
    config = replace(SMALL, changed_share=1.0)
    inputs, _ = batches(config, copies=[copy], weights=np.where(np.arange(120) < 60, 1.0, 0.0))[0]
    assert inputs[0].max() < 20.0


def test_a_clip_is_sampled_from_all_its_copies() -> None:
    vectors, _ = clips()
    copies = [
        [np.full_like(clip, n) if i % n == 0 else None for i, clip in enumerate(vectors)]
        for n in (31, 32)
    ]
    config = replace(SMALL, changed_share=1.0, batch_size=400, time_mask=0.0, mixup=0)
    inputs, _ = batches(config, copies=copies, weights=np.where(np.arange(120) == 0, 1.0, 0.0))[0]
    values = inputs[0][:, 0, 0].round()
    assert set(values) == {31.0, 32.0}
    assert (values == 31.0).mean() == pytest.approx(0.5, abs=0.1)


def test_soft_targets_lie_between_one_hot_and_uniform() -> None:
    (target,) = soft_targets(np.array([2]), 0.8)
    assert target[2] == pytest.approx(0.3)
    assert np.delete(target, 2) == pytest.approx([0.1] * 7)


def test_corpora_are_sampled_by_share_and_their_emotions_alike() -> None:
    table = pd.DataFrame(
        {
            "path": list("abcdef"),
            "corpus": ["x", "x", "x", "y", "y", "y"],
            "emotion": ["sad", "sad", "happy", "sad", "sad", "sad"],
        }
    )
    weights = sampling_weights(table, {"x": 0.8, "y": 0.2})
    assert weights == pytest.approx([0.2, 0.2, 0.4, 0.2 / 3, 0.2 / 3, 0.2 / 3])


def test_a_head_fits_easy_clips_and_repeats_by_seed() -> None:
    vectors, truth = clips()
    head = train_ensemble(easy_clips(), SMALL, seed=0)
    logits = predict_logits(head, vectors)
    assert (logits.argmax(axis=1) == truth).mean() > 0.9
    again = train_ensemble(easy_clips(), SMALL, seed=0)
    np.testing.assert_allclose(predict_logits(again, vectors), logits, atol=1e-3)


def test_an_ensemble_returns_the_mean_of_the_logits() -> None:
    vectors, _ = clips()
    first = SMALL.networks[0]
    config = replace(SMALL, steps=5, networks=(first, replace(first, units=0, input_blocks=(1,))))
    joined = train_ensemble(easy_clips(), config, seed=3)
    members = [layer for layer in joined.layers if layer.name.startswith("member")]
    alone = [predict_logits(member, vectors) for member in members]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    np.testing.assert_allclose(predict_logits(joined, vectors), np.mean(alone, axis=0), atol=1e-3)


@pytest.mark.parametrize("n_padded", [37, 38, 64])
def test_padding_does_not_change_the_student(n_padded: int) -> None:
    config = StudentConfig(filters=(8, 8), units=(4,), attention=4)
    network = config.build(mean=[0.5] * 6, variance=[2.0] * 6, n_labels=3)
    clip = np.random.default_rng(0).normal(size=(1, 37, 6)).astype(np.float32)
    padded = np.full((1, n_padded, 6), 9.0, np.float32)
    padded[:, :37] = clip
    n_frames = np.array([37], np.int32)
    alone, with_padding = (np.array(network([x, n_frames])) for x in (clip, padded))
    np.testing.assert_allclose(with_padding, alone, atol=1e-5)


def test_hints_follow_the_sampled_stretch() -> None:
    """Each clip counts its own frames, and each hint is the number of its frame."""
    random = np.random.default_rng(0)
    lengths = random.integers(10, 60, 30)
    vectors = [np.arange(n, dtype=np.float16)[:, None] for n in lengths]
    hints = [np.arange(0, n, 4, dtype=np.float16)[:, None] for n in lengths]
    config = replace(SMALL, crop=16, mixup=0, time_mask=0.0)

    def copies(clips: list[np.ndarray]) -> list[list[np.ndarray | None]]:
        return [clips, [*clips[:15], *[None] * 15], [*[None] * 5, *clips[5:]]]

    training = TrainingClips(
        copies(vectors),
        np.eye(2, dtype=np.float32)[np.zeros(30, int)],
        np.ones(30),
        DistillationTargets(copies(hints), 4),
    )
    sampled = SampledBatches(training, config, mean=[0.0], seed=0)
    for index in range(5):
        (inputs, n_vectors), (targets, expected) = sampled[index]
        assert targets.shape == (16, 2)
        assert expected.shape == (16, 4, 2)
        real = expected[..., 1] > 0
        np.testing.assert_array_equal(real.sum(axis=1), -(-n_vectors // 4))
        np.testing.assert_allclose(expected[..., 0][real], inputs[:, ::4, 0][real], atol=0.1)


def test_a_distilled_student_has_one_output() -> None:
    vectors, truth = clips()
    hints = DistillationTargets([[clip[::4, :1] for clip in vectors]], stride=4)
    student = StudentConfig(filters=(16, 16), units=(8,), attention=8, frequency_mask=0)
    config = replace(SMALL, networks=(student,), crop=12)
    network = train_ensemble(easy_clips(distillation=hints), config, seed=0)
    assert len(network.outputs) == 1
    logits = predict_logits(network, vectors)
    assert (logits[:, :2].argmax(axis=1) == truth).mean() > 0.9


def load_numbers(paths: Sequence[Path], changes: Changes | None) -> Clips:
    """A clip that holds the number of its copy, 0 as recorded."""
    number = 0 if changes is None else changes.settings.copy
    return [np.full((1, 1), number, np.float16) for _ in paths]


def test_a_copy_is_made_of_the_corpora_that_it_names(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a", "b", "c"], "corpus": ["x", "y", "x"]})
    plans = (CopyPlan(Augmentation(copy=1)), CopyPlan(Augmentation(copy=2), ("x", "absent")))
    as_recorded, first, second = load_copies(table, plans, tmp_path, load_numbers)
    assert [clip is None for clip in second] == [False, True, False]
    assert [[clip.item() for clip in clips if clip is not None] for clips in (first, second)] == [
        [1.0, 1.0, 1.0],
        [2.0, 2.0],
    ]
    assert len(as_recorded) == 3


def test_no_two_copies_share_their_number() -> None:
    for recipe in (AccurateRecipe(), CompactRecipe().teacher):
        numbers = [plan.settings.copy for plan in recipe.copies]
        assert sorted(numbers) == list(range(len(numbers)))


def test_a_clip_moves_only_the_emotions_that_its_corpus_has() -> None:
    """Two corpora of two emotions each: no clip pushes down an emotion of the other corpus."""
    vectors, truth = clips()
    corpora = np.repeat([0, 1], 60)
    known = np.zeros((120, 8), np.float32)
    known[corpora == 0, :2], known[corpora == 1, 2:4] = 1.0, 1.0
    targets = soft_targets(truth + 2 * corpora, 0.1, known=known)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
    assert (targets[known == 0.0] == 0.0).all()
    training = TrainingClips([vectors], targets, np.ones(120), known=known)
    network = train_ensemble(training, replace(SMALL, mixup=0.01), seed=0)
    logits = predict_logits(network, vectors)
    within = np.where(known > 0.0, logits, -np.inf).argmax(axis=1)
    assert np.mean(within == truth + 2 * corpora) > 0.9
    alike = logits[:60].mean(axis=0), logits[60:].mean(axis=0)
    assert np.abs(alike[0][:2].mean() - alike[0][2:4].mean()) < 3.0


def test_known_labels_are_those_of_the_corpus() -> None:
    labels = ("neutral", "calm", "sad", "angry")
    emotions = {"x": ("sad", "calm", "neutral"), "y": ("sad", "neutral"), "z": ("angry",)}
    rows = [(corpus, emotion) for corpus, found in emotions.items() for emotion in found]
    table = pd.DataFrame(rows, columns=["corpus", "emotion"])
    known = known_labels(table, np.arange(len(table)), labels)
    assert known[:3].tolist() == [[1, 1, 1, 0]] * 3
    assert known[3:5].tolist() == [[1, 1, 1, 0], [1, 0, 1, 0]]  # sad is not calm; neutral may be
    assert known[5].tolist() == [0, 0, 0, 1]
