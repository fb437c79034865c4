"""Constants of Whisper: its front end, the sizes of its encoders, and where their weights are.

Source: Radford et al. 2022, Robust speech recognition via large-scale weak supervision;
the Hugging Face Hub's repositories `openai/whisper-tiny.en` and `openai/whisper-base`.
"""

from dataclasses import dataclass

SAMPLE_RATE_HZ = 16_000
FRAME_LENGTH = 400
HOP_LENGTH = 160
N_MELS = 80

MAX_VECTORS = 1_500
"""Longest clip after the second convolution, which halves the frames: 30 s."""


@dataclass(frozen=True, slots=True)
class EncoderSize:
    """Size of an encoder.

    Attributes:
        width: Columns of its vectors.
        n_heads: Heads of attention in a block.
        n_blocks: Blocks.
    """

    width: int
    n_heads: int
    n_blocks: int

    @property
    def n_parameters(self) -> int:
        """Number of weights, its last normalisation left out."""
        convolutions = (3 * N_MELS + 1 + 3 * self.width + 1) * self.width
        block = (4 + 8) * self.width**2 + (3 + 5 + 4) * self.width
        return convolutions + MAX_VECTORS * self.width + self.n_blocks * block


TINY = EncoderSize(width=384, n_heads=6, n_blocks=4)
SIZES = {
    "openai/whisper-tiny.en": TINY,
    "openai/whisper-base": EncoderSize(width=512, n_heads=8, n_blocks=6),
}
"""By repository of the Hub."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The encoder before a model's head: its weights, and the outputs that are used.

    Attributes:
        blocks: Blocks whose outputs the head takes, joined in this order; the first is 1.
        pool: Number of the encoder's 50 vectors a second that are averaged to one.
        deltas: File of the model folder with low-rank changes of the encoder's kernels;
            None where the encoder is as published.
        repo: Repository of the Hugging Face Hub with the encoder's weights.
        file: File of the weights in the repository.
        revision: Commit of the repository.
        tensors_sha256: Hash of the weights, see `weights.tensors_sha256`.
    """

    blocks: tuple[int, ...]
    pool: int = 4
    deltas: str | None = None
    repo: str = "openai/whisper-tiny.en"
    file: str = "model.safetensors"
    revision: str = "87c7102498dcde7456f24cfd30239ca606ed9063"
    tensors_sha256: str = "fd90ee4c86bf0519d7e266dc195b66889a2c5ca8934e3ca51ebd5e025754f827"

    def __post_init__(self) -> None:
        if self.repo not in SIZES:
            raise ValueError(f"repo is {self.repo}; expected one of {', '.join(SIZES)}.")
        n_blocks = self.size.n_blocks
        if not self.blocks or not set(self.blocks) <= set(range(1, n_blocks + 1)):
            raise ValueError(f"blocks is {self.blocks}; some of 1 to {n_blocks} are needed.")
        if self.pool < 1:
            raise ValueError(f"pool is {self.pool}; at least 1 is needed.")

    @property
    def size(self) -> EncoderSize:
        """Size of the whole encoder."""
        return SIZES[self.repo]

    @property
    def n_blocks(self) -> int:
        """Number of blocks to compute."""
        return max(self.blocks)

    @property
    def n_columns(self) -> int:
        """Columns of the vectors that the head takes."""
        return self.size.width * len(self.blocks)
