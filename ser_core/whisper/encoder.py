"""Whisper's encoder in Keras: log-mel frames to 50 vectors a second.

It runs on every Keras backend. Padding changes nothing: after a clip's end the convolutions
see zeros, as at the end of an unpadded clip, and attention is masked. Positions are cut to the
length of the batch, so that short clips are cheap.

Source: Radford et al. 2022, Robust speech recognition via large-scale weak supervision;
tensor names as in the Hub's repositories.
"""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from ser_core.whisper.spec import MAX_VECTORS, N_MELS, TINY, EncoderConfig
from ser_core.whisper.weights import Tensors


@keras.saving.register_keras_serializable("moodmirror")
class EncoderBlock(keras.layers.Layer):  # type: ignore[misc]
    """Pre-norm self-attention and a GELU feed-forward layer, each with a residual."""

    def __init__(self, width: int, n_heads: int, **options: Any) -> None:
        """Create the layers of `EncoderSize`; `options` are Keras's."""
        super().__init__(**options)
        self.width, self.n_heads = width, n_heads
        dense = keras.layers.Dense
        self.norm_attention = keras.layers.LayerNormalization(epsilon=1e-5)
        self.query, self.value, self.out = dense(width), dense(width), dense(width)
        self.key = dense(width, use_bias=False)
        self.norm_feed = keras.layers.LayerNormalization(epsilon=1e-5)
        self.widen, self.narrow = dense(4 * width), dense(width)

    def build(self, shape: Any) -> None:
        """Create the weights; all shapes are fixed."""
        narrow = (self.norm_attention, self.query, self.key, self.value, self.out)
        for layer in (*narrow, self.norm_feed, self.widen):
            layer.build((None, None, self.width))
        self.narrow.build((None, None, 4 * self.width))
        super().build(shape)

    def call(self, hidden: Any, mask: Any) -> Any:
        """Transform (n_clips, n_vectors, width); `mask` is (n_clips, n_vectors) bool."""
        hidden = hidden + self._attend(self.norm_attention(hidden), mask)
        wide = keras.activations.gelu(self.widen(self.norm_feed(hidden)), approximate=False)
        return hidden + self.narrow(wide)

    def _attend(self, hidden: Any, mask: Any) -> Any:
        n_clips, n_vectors, _ = ops.shape(hidden)
        width = self.width // self.n_heads

        def by_head(vectors: Any) -> Any:  # (n_clips, n_heads, n_vectors, width of a head)
            heads = ops.reshape(vectors, (n_clips, n_vectors, self.n_heads, width))
            return ops.transpose(heads, (0, 2, 1, 3))

        query = by_head(self.query(hidden)) * width**-0.5
        scores = ops.matmul(query, ops.transpose(by_head(self.key(hidden)), (0, 1, 3, 2)))
        scores = scores + ops.where(mask, 0.0, -1e9)[:, None, None, :]
        mixed = ops.matmul(ops.softmax(scores), by_head(self.value(hidden)))
        return self.out(
            ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (n_clips, n_vectors, self.width))
        )


@keras.saving.register_keras_serializable("moodmirror")
class WhisperEncoder(keras.layers.Layer):  # type: ignore[misc]
    """Two convolutions and the first transformer blocks."""

    def __init__(
        self,
        n_blocks: int = TINY.n_blocks,
        width: int = TINY.width,
        n_heads: int = TINY.n_heads,
        **options: Any,
    ) -> None:
        """Create the first `n_blocks` blocks of an `EncoderSize`; `options` are Keras's."""
        super().__init__(**options)
        self.n_blocks, self.width, self.n_heads = n_blocks, width, n_heads
        self.conv1 = keras.layers.Conv1D(width, 3)
        self.conv2 = keras.layers.Conv1D(width, 3, strides=2)
        names = [f"block_{i + 1}" for i in range(n_blocks)]
        self.blocks = [EncoderBlock(width, n_heads, name=name) for name in names]

    @classmethod
    def of(cls, config: EncoderConfig) -> Self:
        """Create the blocks that a model needs."""
        return cls(config.n_blocks, config.size.width, config.size.n_heads)

    def build(self, log_mel_shape: Any = None, n_frames_shape: Any = None) -> None:  # noqa: ARG002
        """Create the weights; all shapes are fixed."""
        self.conv1.build((None, None, N_MELS))
        self.conv2.build((None, None, self.width))
        self.positions = self.add_weight(shape=(MAX_VECTORS, self.width), name="positions")
        for block in self.blocks:
            block.build((None, None, self.width))
        super().build(log_mel_shape)

    def call(self, log_mel: Any, n_frames: Any) -> list[Any]:
        """Encode padded clips.

        Args:
            log_mel: (n_clips, n_frames, 80) in Whisper's scale, at most 3,000 frames.
            n_frames: (n_clips,) int32 true lengths.

        Returns:
            The output of each block, (n_clips, (n_frames + 1) // 2, width): the second convolution
            halves the frames.
        """
        real = ops.cast(_mask(ops.shape(log_mel)[1], n_frames), log_mel.dtype)[:, :, None]
        edges = ((0, 0), (1, 1), (0, 0))
        hidden = _gelu(self.conv1(ops.pad(log_mel * real, edges))) * real
        hidden = _gelu(self.conv2(ops.pad(hidden, edges)))
        hidden = hidden + self.positions[: ops.shape(hidden)[1]]
        mask = _mask(ops.shape(hidden)[1], (n_frames + 1) // 2)
        outputs = []
        for block in self.blocks:
            hidden = block(hidden, mask)
            outputs.append(hidden)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        sizes = {"n_blocks": self.n_blocks, "width": self.width, "n_heads": self.n_heads}
        return dict(super().get_config(), **sizes)

    def set_tensors(self, tensors: Tensors) -> None:
        """Set the weights to those of a Whisper file, as `read_tensors` returns them."""
        if not self.built:
            self.build()
        for name in ("conv1", "conv2"):
            kernel = tensors[f"{name}.weight"].transpose(2, 1, 0)
            getattr(self, name).set_weights([kernel, tensors[f"{name}.bias"]])
        self.positions.assign(tensors["embed_positions.weight"])
        for i, block in enumerate(self.blocks):
            for place, layer in _places(block).items():
                _set_layer(layer, tensors, f"layers.{i}.{place}")


def _mask(length: Any, n_frames: Any) -> Any:
    return ops.arange(length)[None, :] < n_frames[:, None]


def _gelu(values: Any) -> Any:
    return keras.activations.gelu(values, approximate=False)


def _places(block: EncoderBlock) -> dict[str, keras.layers.Layer]:
    """Return the layers of a block by their names in a Whisper file."""
    return {
        "self_attn_layer_norm": block.norm_attention,
        "self_attn.q_proj": block.query,
        "self_attn.k_proj": block.key,
        "self_attn.v_proj": block.value,
        "self_attn.out_proj": block.out,
        "final_layer_norm": block.norm_feed,
        "fc1": block.widen,
        "fc2": block.narrow,
    }


def _set_layer(layer: keras.layers.Layer, tensors: Tensors, name: str) -> None:
    weight = tensors[f"{name}.weight"].T  # a norm's scale is its own transpose
    bias = [tensors[f"{name}.bias"]] if len(layer.weights) == 2 else []
    layer.set_weights([weight, *bias])


@keras.saving.register_keras_serializable("moodmirror")
class PoolVectors(keras.layers.Layer):  # type: ignore[misc]
    """Average pooling over time that ignores padding."""

    def __init__(self, size: int, **options: Any) -> None:
        """Pool groups of `size` vectors; 4 turn 50 vectors a second into 12.5."""
        super().__init__(**options)
        self.size = size

    def call(self, vectors: Any, n_vectors: Any) -> tuple[Any, Any]:
        """Average groups; the last one of a clip may be smaller.

        Args:
            vectors: (n_clips, n_vectors, width).
            n_vectors: (n_clips,) int32 true lengths.

        Returns:
            (n_clips, n_groups, width), zeros after each clip's end, and (n_clips,) int32.
        """
        n_clips, length, width = ops.shape(vectors)
        n_groups = (length + self.size - 1) // self.size
        real = ops.cast(_mask(n_groups * self.size, n_vectors), vectors.dtype)[:, :, None]
        vectors = ops.pad(vectors, ((0, 0), (0, n_groups * self.size - length), (0, 0))) * real
        groups = (n_clips, n_groups, self.size)
        total = ops.sum(ops.reshape(vectors, (*groups, width)), axis=2)
        n_real = ops.sum(ops.reshape(real, (*groups, 1)), axis=2)
        return total / ops.maximum(n_real, 1.0), (n_vectors + self.size - 1) // self.size

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return dict(super().get_config(), size=self.size)


def encode(
    encoder: WhisperEncoder, log_mel: Any, n_frames: Any, *, blocks: Sequence[int], pool: int
) -> tuple[Any, Any]:
    """Return pooled outputs of some blocks, the input of a model's head.

    Args:
        encoder: With at least as many blocks as the highest of `blocks`.
        log_mel: (n_clips, n_frames, 80) in Whisper's scale.
        n_frames: (n_clips,) int32 true lengths.
        blocks: Numbers of the blocks, from 1; their outputs are joined in this order.
        pool: Vectors that are averaged to one.

    Returns:
        (n_clips, n_pooled, width × len(blocks)), and (n_clips,) int32 lengths.
    """
    outputs = encoder(log_mel, n_frames)
    vectors = ops.concatenate([outputs[block - 1] for block in blocks], axis=-1)
    return PoolVectors(pool)(vectors, (n_frames + 1) // 2)  # type: ignore[no-any-return]
