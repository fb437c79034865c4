"""Keras layers of this project: masks, attentive pooling, and LSTMs as one operation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from ser_core.errors import ModelError
from ser_core.model.keras_file import check_file
from ser_core.model.saved_model import import_tensorflow
from ser_core.whisper.weights import first_line

MASKED_SCORE = -1e9
"""Attention score of a padded frame."""


@keras.saving.register_keras_serializable("moodmirror")
class FrameMask(layers.Layer):  # type: ignore[misc]
    """Mask of the real frames in a padded batch."""

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


@keras.saving.register_keras_serializable("moodmirror", name="BandDropout")
class FrequencyMask(layers.Layer):  # type: ignore[misc]
    """Random mask over neighbouring columns of a clip, during training only.

    Source: Park et al. 2019, SpecAugment, frequency masking.
    """

    def __init__(self, most: int, **options: Any) -> None:
        """Mask up to `most` columns; `options` are Keras's."""
        super().__init__(**options)
        self.most = most
        self.seeds = keras.random.SeedGenerator()

    def call(self, frames: Any, training: bool = False) -> Any:
        """Set columns of (n_clips, n_frames, n_columns) to zero."""
        if not training or self.most == 0:
            return frames
        n_clips, n_columns = ops.shape(frames)[0], frames.shape[-1]
        uniform = keras.random.uniform((n_clips, 2), seed=self.seeds)
        width = uniform[:, :1] * self.most
        first = uniform[:, 1:] * (n_columns - width)
        column = ops.arange(n_columns, dtype="float32")[None, :]
        masked = ops.logical_and(column >= first, column < first + width)
        return frames * ops.cast(ops.logical_not(masked), frames.dtype)[:, None, :]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return dict(super().get_config(), most=self.most)


@keras.saving.register_keras_serializable("moodmirror")
class AttentivePooling(layers.Layer):  # type: ignore[misc]
    """Attention-weighted mean, plain mean and standard deviation over time.

    Source: Okabe et al. 2018, Attentive statistics pooling.
    """

    def __init__(self, width: int, **options: Any) -> None:
        """Use `width` hidden units for the attention; `options` are Keras's."""
        super().__init__(**options)
        self.supports_masking = True  # the mask is an argument; Keras's implicit one ends here
        self.width = width
        self.hidden = layers.Dense(width, activation="tanh")
        self.score = layers.Dense(1)

    def build(self, shape: Any) -> None:
        """Create the weights for (n_clips, n_frames, n_columns)."""
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
        """Return no mask: a pooled clip has no frames."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return dict(super().get_config(), width=self.width)


@keras.saving.register_keras_serializable("moodmirror")
class BlockLstm(layers.LSTM):  # type: ignore[misc]
    """Keras's LSTM with TensorFlow's `BlockLSTM` in place of the loop over steps: twice as fast.

    Weights and outputs equal Keras's to rounding, in training and in serving. A mask has to be
    true at the beginning of each clip and false after it; outputs past a clip's end are undefined.
    With dropout of its own and on other backends the layer falls back to Keras's loop.

    Source: TensorFlow's `BlockLSTM`. `BlockLSTMV2` has Keras's order of gates, but TensorFlow 2.21
    differentiates it as if it were the first version, which gives wrong gradients.
    """

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Process (n_clips, n_steps, n_inputs); Keras calls this from `call`.

        Returns:
            The last output (n_clips, units), all outputs (n_clips, n_steps, units), and the
            last output and cell state.
        """
        drops = training and (self.dropout or self.recurrent_dropout)
        if drops or keras.backend.backend() != "tensorflow":
            return super().inner_loop(sequences, initial_state, mask, training)  # type: ignore[no-any-return]
        tf = import_tensorflow()
        n_clips, n_steps = tf.unstack(tf.shape(sequences)[:2])
        lengths = tf.fill([n_clips], n_steps) if mask is None else ops.sum(mask, axis=1)
        steps = tf.transpose(sequences, [1, 0, 2])  # (n_steps, n_clips, n_inputs)
        if self.go_backwards:
            steps = tf.reverse_sequence(steps, lengths, seq_axis=0, batch_axis=1)
        outputs, cells = self._run(steps, initial_state)
        rows = tf.stack([tf.maximum(lengths - 1, 0), tf.range(n_clips)], axis=1)
        last = [tf.gather_nd(outputs, rows), tf.gather_nd(cells, rows)]
        if self.go_backwards and mask is not None:  # Keras puts the padding first
            outputs = tf.reverse_sequence(outputs, lengths, seq_axis=0, batch_axis=1)[::-1]
        return last[0], tf.transpose(outputs, [1, 0, 2]), last

    def _run(self, steps: Any, initial_state: Any) -> tuple[Any, Any]:
        tf = import_tensorflow()
        no_peephole = tf.zeros((self.units,))
        block = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(steps, out_type=tf.int64)[0],
            x=steps,
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
        return block.h, block.cs


def _block_order(weights: Any) -> Any:
    """Reorder gates from Keras's (input, forget, cell, output) to those of `BlockLSTM`."""
    tf = import_tensorflow()
    entry, forget, cell, output = tf.split(weights, 4, axis=-1)
    return tf.concat([entry, cell, forget, output], axis=-1)


def load_keras(path: Path) -> keras.Model:
    """Load a `.keras` file after checking it, see `ser_core.model.keras_file`.

    Returns:
        The network, not compiled. It may contain the layers of this module.

    Raises:
        ModelError: The file is damaged, too large or holds what is not loaded.
    """
    try:
        check_file(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    # Keras raises errors of any type for configurations that it has not written itself.
    except Exception as error:
        raise ModelError(
            f"{path.name} cannot be opened: {first_line(error)}. Download or export the "
            "whole model again."
        ) from error


def check_ends(
    network: keras.Model, inputs: Mapping[str, tuple[int | None, ...]], n_outputs: int
) -> None:
    """Check that a network takes inputs of these names and shapes and gives `n_outputs` logits.

    Raises:
        ModelError: It takes or gives others.
    """
    found = {i.name: tuple(i.shape) for i in network.inputs}
    outputs = [tuple(o.shape) for o in network.outputs]
    if found != inputs or outputs != [(None, n_outputs)]:
        raise ModelError(
            f"The network leads from {found} to {outputs}, but the manifest expects {inputs} and "
            f"{n_outputs} columns. Export the model again."
        )


def fuse_lstms(network: keras.Model) -> keras.Model:
    """Return a copy of a network with a `BlockLstm` in each `Bidirectional(LSTM)`.

    Args:
        network: A functional model; its other layers are shared with the copy.
    """
    return keras.models.clone_model(network, clone_function=_fused)


def _fused(layer: layers.Layer) -> layers.Layer:
    if isinstance(layer, keras.Model):
        return fuse_lstms(layer)
    if not isinstance(layer, layers.Bidirectional):
        return layer
    return _with_lstm(layer, BlockLstm)


def unfuse_lstms(network: keras.Model) -> keras.Model:
    """Return a copy of a network with Keras's LSTM in place of each `BlockLstm`.

    Args:
        network: As in `fuse_lstms`.
    """
    return keras.models.clone_model(network, clone_function=_unfused)


def _unfused(layer: layers.Layer) -> layers.Layer:
    if isinstance(layer, keras.Model):
        return unfuse_lstms(layer)
    lstm = layer.forward_layer if isinstance(layer, layers.Bidirectional) else layer
    return _with_lstm(layer, layers.LSTM) if isinstance(lstm, BlockLstm) else layer


def _with_lstm(layer: layers.Layer, kind: type[layers.LSTM]) -> layers.Layer:
    """Return a copy of a layer, an LSTM or one both ways, with an LSTM of another class."""
    both_ways = isinstance(layer, layers.Bidirectional)
    lstm = layer.forward_layer if both_ways else layer
    copy = kind.from_config(lstm.get_config())
    if both_ways:
        copy = layers.Bidirectional(copy, merge_mode=layer.merge_mode, name=layer.name)
    copy.build((None, None, lstm.cell.kernel.shape[0]))
    copy.set_weights(layer.get_weights())
    return copy
