"""The head of the accurate model: its draws, its targets, its training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ser_lab.train.architectures import HeadConfig, StudentConfig
from ser_lab.train.loop import draw_weights, predict_logits, soft_targets, train_ensemble
from ser_lab.train.sampling import (
    DistillationBatches,
    DistillationTargets,
    SampledTraining,
    VectorBatches,
)

SMALL = SampledTraining(
    networks=(
        HeadConfig(n_blocks=2, heard=(0, 1), projection=16, units=8, attention=8, dropout=0.1),
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


def batches(config: SampledTraining = SMALL, *, seed: int = 0) -> VectorBatches:
    vectors, truth = clips()
    return VectorBatches(
        vectors, np.eye(2, dtype=np.float32)[truth], np.ones(120), config, mean=[7.0] * 8, seed=seed
    )


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


def test_what_is_hidden_is_filled_with_the_mean() -> None:
    inputs, _ = batches(replace(SMALL, hidden_share=0.9, mixup=1e-3))[0]
    filled = (np.abs(inputs[0] - 7.0) < 0.1).all(axis=2).sum()
    assert filled > 0.1 * inputs[1].sum()


def test_what_lies_past_a_clips_end_is_the_mean() -> None:
    (vectors, n_vectors), _ = batches(replace(SMALL, hidden_share=0.0, mixup=1e-3))[0]
    short = int(n_vectors.argmin())
    assert n_vectors[short] < 10
    np.testing.assert_allclose(vectors[short, n_vectors.max() :], 7.0, atol=0.1)
    past = np.arange(10) >= n_vectors[:, None]
    assert (np.abs(vectors[past] - 7.0) < 0.1).all(axis=1).mean() > 0.9


def test_draws_follow_the_weights() -> None:
    vectors, truth = clips()
    only = np.where(truth == 1, 1.0, 0.0)
    drawn = VectorBatches(
        vectors, np.eye(2, dtype=np.float32)[truth], only, SMALL, mean=[0.0] * 8, seed=0
    )
    assert (drawn[0][1][:, 1] == 1.0).all()


def test_changed_copies_take_their_share_of_the_draws() -> None:
    vectors, truth = clips()
    copy = [None if i < 60 else np.full_like(clip, 50.0) for i, clip in enumerate(vectors)]
    drawn = VectorBatches(
        vectors,
        np.eye(2, dtype=np.float32)[truth],
        np.where(np.arange(120) < 60, 0.0, 1.0),
        replace(SMALL, changed_share=0.5, batch_size=400, hidden_share=0.0, mixup=1e-3),
        mean=[0.0] * 8,
        seed=0,
        copies=[copy],
    )
    inputs, _ = drawn[0]
    assert (inputs[0][:, 0, 0] == 50.0).mean() == pytest.approx(0.5, abs=0.1)
    only_missing = VectorBatches(
        vectors[:60],
        np.eye(2, dtype=np.float32)[truth[:60]],
        np.ones(60),
        replace(SMALL, changed_share=1.0),
        mean=[0.0] * 8,
        seed=0,
        copies=[copy[:60]],
    )
    assert only_missing[0][0][0].max() < 20.0


def test_a_clip_is_heard_in_all_the_copies_that_it_has() -> None:
    vectors, truth = clips()
    copies = [
        [np.full_like(clip, n) if i % n == 0 else None for i, clip in enumerate(vectors)]
        for n in (31, 32)
    ]
    drawn = VectorBatches(
        vectors,
        np.eye(2, dtype=np.float32)[truth],
        np.where(np.arange(120) == 0, 1.0, 0.0),
        replace(SMALL, changed_share=1.0, batch_size=400, hidden_share=0.0, mixup=1e-3),
        mean=[0.0] * 8,
        seed=0,
        copies=copies,
    )
    heard = drawn[0][0][0][:, 0, 0].round()
    assert set(heard) == {31.0, 32.0}
    assert (heard == 31.0).mean() == pytest.approx(0.5, abs=0.1)


def test_soft_targets_lie_between_the_emotion_and_indifference() -> None:
    (target,) = soft_targets(np.array([2]), 0.8)
    assert target[2] == pytest.approx(0.3)
    assert np.delete(target, 2) == pytest.approx([0.1] * 7)


def test_corpora_are_drawn_by_share_and_their_emotions_alike() -> None:
    table = pd.DataFrame(
        {
            "path": list("abcdef"),
            "corpus": ["x", "x", "x", "y", "y", "y"],
            "emotion": ["sad", "sad", "happy", "sad", "sad", "sad"],
        }
    )
    weights = draw_weights(table, {"x": 0.8, "y": 0.2})
    assert weights == pytest.approx([0.2, 0.2, 0.4, 0.2 / 3, 0.2 / 3, 0.2 / 3])


def test_a_head_learns_what_can_be_learned_and_repeats_by_seed() -> None:
    vectors, truth = clips()
    targets = soft_targets(truth, 0.1)
    head = train_ensemble(vectors, targets, np.ones(120), SMALL, seed=0)
    logits = predict_logits(head, vectors)
    assert (logits.argmax(axis=1) == truth).mean() > 0.9
    again = train_ensemble(vectors, targets, np.ones(120), SMALL, seed=0)
    np.testing.assert_allclose(predict_logits(again, vectors), logits, atol=1e-3)


def test_heads_answer_together_with_the_mean_of_their_logits() -> None:
    vectors, truth = clips()
    first = SMALL.networks[0]
    config = replace(SMALL, steps=5, networks=(first, replace(first, units=0, heard=(1,))))
    joined = train_ensemble(vectors, soft_targets(truth, 0.1), np.ones(120), config, seed=3)
    members = [layer for layer in joined.layers if layer.name.startswith("member")]
    alone = [predict_logits(member, vectors) for member in members]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    np.testing.assert_allclose(predict_logits(joined, vectors), np.mean(alone, axis=0), atol=1e-3)


@pytest.mark.parametrize("n_padded", [37, 38, 64])
def test_the_student_sees_no_padding(n_padded: int) -> None:
    config = StudentConfig(filters=(8, 8), units=(4,), attention=4)
    network = config.build(mean=[0.5] * 6, variance=[2.0] * 6, n_labels=3)
    clip = np.random.default_rng(0).normal(size=(1, 37, 6)).astype(np.float32)
    padded = np.full((1, n_padded, 6), 9.0, np.float32)
    padded[:, :37] = clip
    n_frames = np.array([37], np.int32)
    alone, with_padding = (np.array(network([x, n_frames])) for x in (clip, padded))
    np.testing.assert_allclose(with_padding, alone, atol=1e-5)


def test_lessons_follow_the_stretch_that_is_heard() -> None:
    """Each clip counts its own frames, and each lesson names the frame at which it begins."""
    random = np.random.default_rng(0)
    lengths = random.integers(10, 60, 30)
    vectors = [np.arange(n, dtype=np.float16)[:, None] for n in lengths]
    lesson = [np.arange(0, n, 4, dtype=np.float16)[:, None] for n in lengths]
    config = replace(SMALL, crop=16, mixup=1e-6, hidden_share=0.0)  # no clip is mixed
    drawn = DistillationBatches(
        vectors,
        np.eye(2, dtype=np.float32)[np.zeros(30, int)],
        np.ones(30),
        config,
        mean=[0.0],
        seed=0,
        copies=[[*vectors[:15], *[None] * 15], [*[None] * 5, *vectors[5:]]],
        lessons=DistillationTargets(
            [lesson, [*lesson[:15], *[None] * 15], [*[None] * 5, *lesson[5:]]], 4
        ),
    )
    for index in range(5):
        (heard, n_vectors), (targets, lessons) = drawn[index]
        assert targets.shape == (16, 2)
        assert lessons.shape == (16, 4, 2)
        real = lessons[..., 1] > 0
        np.testing.assert_array_equal(real.sum(axis=1), -(-n_vectors // 4))
        np.testing.assert_allclose(lessons[..., 0][real], heard[:, ::4, 0][real], atol=0.1)


def test_a_pupil_learns_its_lessons_and_answers_alone() -> None:
    vectors, truth = clips()
    lessons = DistillationTargets([[clip[::4, :1] for clip in vectors]], stride=4)
    student = StudentConfig(filters=(16, 16), units=(8,), attention=8, hidden_bands=0)
    config = replace(SMALL, networks=(student,), crop=12)
    pupil = train_ensemble(
        vectors, soft_targets(truth, 0.1), np.ones(120), config, seed=0, lessons=lessons
    )
    assert len(pupil.outputs) == 1
    logits = predict_logits(pupil, vectors)
    assert (logits[:, :2].argmax(axis=1) == truth).mean() > 0.9
