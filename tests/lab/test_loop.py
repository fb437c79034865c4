"""Batches of like length."""

import numpy as np

from ser_lab.train.loop import LengthBatches


def make(seed: int | None) -> tuple[list[np.ndarray], LengthBatches]:
    lengths = np.random.default_rng(0).integers(20, 120, 205)
    clips = [np.full((n, 2), i, np.float32) for i, n in enumerate(lengths)]
    targets = np.arange(205, dtype=np.float32)[:, None]
    return clips, LengthBatches(clips, targets, batch_size=10, seed=seed)


def contents(batches: LengthBatches) -> list[list[int]]:
    return [batches[i][1][:, 0].astype(int).tolist() for i in range(len(batches))]


def test_an_epoch_holds_each_clip_once_with_its_target() -> None:
    clips, batches = make(seed=1)
    for _ in range(3):
        assert sorted(row for batch in contents(batches) for row in batch) == list(range(205))
        for i in range(len(batches)):
            inputs, targets = batches[i]
            for features, n_frames, target in zip(*inputs.values(), targets, strict=True):
                np.testing.assert_array_equal(features[:n_frames], clips[int(target[0])])
                assert not features[n_frames:].any()
        batches.on_epoch_end()


def test_epochs_differ_and_seeds_repeat() -> None:
    _, batches = make(seed=1)
    orders = []
    for _ in range(2):
        batches.on_epoch_end()
        orders.append(contents(batches))
    assert orders[0] != orders[1]
    _, again = make(seed=1)
    again.on_epoch_end()
    assert contents(again) == orders[0]


def test_without_seed_the_order_stays() -> None:
    _, batches = make(seed=None)
    before = contents(batches)
    batches.on_epoch_end()
    assert contents(batches) == before


def test_batches_waste_less_than_a_random_cut() -> None:
    clips, batches = make(seed=1)
    batches.on_epoch_end()
    padded = sum(
        batches[i][0]["features"].shape[0] * batches[i][0]["features"].shape[1]
        for i in range(len(batches))
    )
    assert padded < 1.2 * sum(len(clip) for clip in clips)


def test_the_first_two_batches_differ_in_length() -> None:
    _, batches = make(seed=None)
    assert batches[0][0]["features"].shape[1] != batches[1][0]["features"].shape[1]
