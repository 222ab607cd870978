"""Memory of a training that the C library keeps instead of returning it to the system after each step."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# of malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_BLOCK = 2**30, 2**28
# what glibc reaches by itself; older versions allow no more
_USUAL_BLOCK = 2**25


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep up to 1 GiB of freed memory, in blocks of up to 256 MiB, until the end of the context.

    A step allocates and frees several tensors of the size of the item table, such as its gradients. glibc returns their
    memory, and in the next step the system maps and clears the pages again: 1,500 page faults a step with 12,101 items
    of 64 values, a tenth of its processor time. Other C libraries are left as they are.
    """
    library = _glibc()
    if library is None:
        yield
        return
    if not library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK):
        library.mallopt(_M_MMAP_THRESHOLD, _USUAL_BLOCK)
    library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    try:
        yield
    finally:
        library.mallopt(_M_MMAP_THRESHOLD, _USUAL_BLOCK)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _USUAL_BLOCK)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
