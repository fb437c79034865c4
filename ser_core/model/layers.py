"""Keras's bidirectional LSTMs as one operation a direction, for serving.

Keras walks through a sequence in a loop of small operations; TensorFlow's BlockLSTM takes it
whole. The weights are the same, and so is the answer, to rounding; it cannot be trained.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ser_core.model.saved_model import import_tensorflow

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


def fuse_lstms(network: keras.Model) -> keras.Model:
    """The same network with every `Bidirectional(LSTM)` as a `FusedBiLstm`.

    Args:
        network: A functional model; its other layers are shared with the result.

    Source: TensorFlow's `BlockLSTMV2`.
    """
    return keras.models.clone_model(network, clone_function=_fused)


def _fused(layer: layers.Layer) -> layers.Layer:
    if isinstance(layer, keras.Model):
        return fuse_lstms(layer)
    fits = isinstance(layer, layers.Bidirectional) and layer.return_sequences
    return FusedBiLstm(layer) if fits else layer


class FusedBiLstm(layers.Layer):  # type: ignore[misc]
    """Both directions of a trained LSTM over padded sequences."""

    def __init__(self, trained: layers.Bidirectional) -> None:
        """Take over the weights of a layer that answers with both directions side by side."""
        super().__init__(name=trained.name, trainable=False)
        self.supports_masking = True
        self.units = trained.forward_layer.units
        self.ways = [self._take(trained.forward_layer), self._take(trained.backward_layer)]
        self.built = True

    def _take(self, lstm: layers.LSTM) -> tuple[Any, Any]:
        """Weights of (n_inputs + units, 4 * units) in Keras's order of gates, and the bias."""
        kernel, recurrent, bias = lstm.get_weights()
        taken = []
        for values in (np.concatenate([kernel, recurrent]), bias):
            weight = self.add_weight(shape=values.shape, initializer="zeros")
            weight.assign(values)
            taken.append(weight)
        return taken[0], taken[1]

    def call(self, steps: Any, mask: Any = None) -> Any:
        """Walk through (n_clips, n_steps, n_inputs) in both directions.

        Args:
            steps: Padded sequences.
            mask: (n_clips, n_steps) bool, true at the beginning of each clip; None where
                nothing is padding.

        Returns:
            (n_clips, n_steps, 2 * units); what stands past a clip's end means nothing.
        """
        tf = import_tensorflow()
        real = tf.ones(tf.shape(steps)[:2], tf.int32) if mask is None else tf.cast(mask, tf.int32)
        lengths = tf.reduce_sum(real, axis=1)
        ahead = tf.transpose(steps, [1, 0, 2])  # (n_steps, n_clips, n_inputs)
        back = tf.reverse_sequence(ahead, lengths, seq_axis=0, batch_axis=1)
        forward = self._walk(ahead, *self.ways[0])
        backward = tf.reverse_sequence(
            self._walk(back, *self.ways[1]), lengths, seq_axis=0, batch_axis=1
        )
        return tf.transpose(tf.concat([forward, backward], axis=-1), [1, 0, 2])

    def _walk(self, steps: Any, weights: Any, bias: Any) -> Any:
        tf = import_tensorflow()
        nothing = tf.zeros((tf.shape(steps)[1], self.units))
        no_peephole = tf.zeros((self.units,))
        return tf.raw_ops.BlockLSTMV2(
            seq_len_max=tf.shape(steps, out_type=tf.int64)[0],
            x=steps,
            cs_prev=nothing,
            h_prev=nothing,
            w=weights,
            wci=no_peephole,
            wcf=no_peephole,
            wco=no_peephole,
            b=bias,
        ).h

    def compute_output_shape(self, shape: Any, *_: Any) -> Any:
        """Both directions side by side."""
        return (*shape[:-1], 2 * self.units)
