"""Keras's bidirectional LSTMs as one operation a direction, for serving.

Keras walks through a sequence in a loop of small operations; TensorFlow's BlockLSTM takes it
whole. The weights are the same, and so is the answer, to rounding; it cannot be trained.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from ser_core.saved_model import import_tensorflow


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
