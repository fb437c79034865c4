"""Our own Keras layers, written once for every backend, found by any loader of our networks."""

from typing import Any

import keras
from keras import ops

from ser_core.saved_model import import_tensorflow

MASKED_SCORE = -1e9
"""Score of a frame that attention must not see."""


@keras.saving.register_keras_serializable("moodmirror")
class FrameMask(keras.layers.Layer):  # type: ignore[misc]
    """Which frames of a padded batch are real."""

    def call(self, frames: Any, n_frames: Any) -> Any:
        """Compare positions with lengths.

        Args:
            frames: (n_clips, max_frames, n_features).
            n_frames: (n_clips,) int32.

        Returns:
            (n_clips, max_frames) bool.
        """
        positions = ops.arange(ops.shape(frames)[1], dtype="int32")
        return positions[None, :] < n_frames[:, None]


@keras.saving.register_keras_serializable("moodmirror")
class BandDropout(keras.layers.Layer):  # type: ignore[misc]
    """Hides a run of neighbouring columns from a clip while training.

    Source: Park et al. 2019, SpecAugment, frequency masking.
    """

    def __init__(self, most: int, **options: Any) -> None:
        """Prepare the layer.

        Args:
            most: How many columns at most.
            **options: Keras's own.
        """
        super().__init__(**options)
        self.most = most
        self.draws = keras.random.SeedGenerator()

    def call(self, frames: Any, training: bool = False) -> Any:
        """Set columns of (n_clips, n_frames, n_columns) to zero."""
        if not training or self.most == 0:
            return frames
        n_clips, n_columns = ops.shape(frames)[0], frames.shape[-1]
        draws = keras.random.uniform((n_clips, 2), seed=self.draws)
        width = draws[:, :1] * self.most
        first = draws[:, 1:] * (n_columns - width)
        column = ops.arange(n_columns, dtype="float32")[None, :]
        hidden = ops.logical_and(column >= first, column < first + width)
        return frames * ops.cast(ops.logical_not(hidden), frames.dtype)[:, None, :]

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return dict(super().get_config(), most=self.most)


@keras.saving.register_keras_serializable("moodmirror")
class AttentivePooling(keras.layers.Layer):  # type: ignore[misc]
    """A clip as one vector: attention-weighted mean, plain mean and deviation over time.

    Source: Okabe et al. 2018, Attentive statistics pooling.
    """

    def __init__(self, width: int, **options: Any) -> None:
        """Prepare the layer.

        Args:
            width: Hidden units of the attention.
            **options: Keras's own.
        """
        super().__init__(**options)
        self.supports_masking = True  # the mask is an argument; Keras's implicit one ends here
        self.width = width
        self.hidden = keras.layers.Dense(width, activation="tanh")
        self.score = keras.layers.Dense(1)

    def build(self, shape: Any) -> None:
        """Make the weights for (n_clips, n_frames, n_columns)."""
        self.hidden.build(shape)
        self.score.build((*shape[:-1], self.width))
        super().build(shape)

    def call(self, frames: Any, mask: Any) -> Any:
        """Pool over real frames.

        Args:
            frames: (n_clips, n_frames, n_columns).
            mask: (n_clips, n_frames) bool.

        Returns:
            (n_clips, 3 * n_columns).
        """
        real = ops.cast(mask, frames.dtype)[:, :, None]
        scores = self.score(self.hidden(frames)) + (1.0 - real) * MASKED_SCORE
        attended = ops.sum(ops.softmax(scores, axis=1) * frames, axis=1)
        count = ops.maximum(ops.sum(real, axis=1), 1.0)
        mean = ops.sum(frames * real, axis=1) / count
        square = ops.sum(ops.square(frames - mean[:, None, :]) * real, axis=1) / count
        return ops.concatenate([attended, mean, ops.sqrt(square + 1e-5)], axis=-1)

    def compute_mask(self, *_: Any) -> None:
        """A pooled clip has no frames left to mask."""

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return dict(super().get_config(), width=self.width)


@keras.saving.register_keras_serializable("moodmirror")
class BlockLstm(keras.layers.LSTM):  # type: ignore[misc]
    """Keras's LSTM that TensorFlow takes through a sequence as one operation: twice as fast.

    Weights and answers are Keras's own, to rounding, and it can be trained. Under a mask, under
    dropout of its own and on other backends Keras's loop does the work.

    Source: TensorFlow's `BlockLSTM`. Its second version keeps Keras's order of gates, but
    TensorFlow 2.21 differentiates it as if it were the first, which gives wrong slopes.
    """

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Walk through (n_clips, n_steps, n_inputs), as Keras asks for it.

        Returns:
            The last output (n_clips, units), all outputs (n_clips, n_steps, units), and the
            last output and memory.
        """
        hides = training and (self.dropout or self.recurrent_dropout)
        if mask is not None or hides or keras.backend.backend() != "tensorflow":
            walked: tuple[Any, Any, list[Any]] = super().inner_loop(
                sequences, initial_state, mask, training
            )
            return walked
        tf = import_tensorflow()
        steps = tf.transpose(sequences, [1, 0, 2])  # (n_steps, n_clips, n_inputs)
        no_peephole = tf.zeros((self.units,))
        walk = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(steps, out_type=tf.int64)[0],
            x=tf.reverse(steps, [0]) if self.go_backwards else steps,
            cs_prev=initial_state[1],
            h_prev=initial_state[0],
            w=_block_order(tf.concat([self.cell.kernel, self.cell.recurrent_kernel], axis=0)),
            wci=no_peephole,
            wcf=no_peephole,
            wco=no_peephole,
            b=_block_order(self.cell.bias),
            forget_bias=0.0,
            cell_clip=-1.0,
        )
        return walk.h[-1], tf.transpose(walk.h, [1, 0, 2]), [walk.h[-1], walk.cs[-1]]


def _block_order(weights: Any) -> Any:
    """From Keras's order of gates (input, forget, cell, output) to that of `BlockLSTM`."""
    tf = import_tensorflow()
    entry, forget, cell, output = tf.split(weights, 4, axis=-1)
    return tf.concat([entry, cell, forget, output], axis=-1)
