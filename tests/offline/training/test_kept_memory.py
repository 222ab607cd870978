"""Freed memory stays in the process while it trains."""

import ctypes
import resource
import sys

import pytest

from retort.offline.training.kept_memory import kept_memory

BLOCK = 8 * 2**20


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="requires glibc"
)
def test_a_block_that_is_freed_and_allocated_again_causes_no_page_faults() -> None:
    with kept_memory():
        write_block()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            write_block()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 20 * 100, "a block has 2,048 pages"


def write_block() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    block = library.malloc(ctypes.c_size_t(BLOCK))
    ctypes.memset(block, 1, BLOCK)
    library.free(ctypes.c_void_p(block))


def test_an_error_leaves_the_context() -> None:
    with pytest.raises(ValueError, match="stop"), kept_memory():
        raise ValueError("stop")
