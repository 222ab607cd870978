"""Files of a bundle whose content is something else: each is a `BundleError`, whatever numpy raises."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from retort.shared.base.errors import BundleError
from retort.shared.model.bundle_files import parse_map, parse_trends
from retort.shared.model.user_map import parse_user_map

N_ITEMS = 3
MAGIC = b"\x93NUMPY\x01\x00"


def array_bytes() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(N_ITEMS, dtype=np.uint64))
    return file.getvalue()


def header(text: bytes) -> bytes:
    return MAGIC + len(text).to_bytes(2, "little") + text


def archive(member: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name in ("users", "places", "counts", "span"):
            opened.writestr(f"{name}.npy", member)
    return file.getvalue()


HUGE = header(b"{'descr': '<u8', 'fortran_order': False, 'shape': (100000000000000000,), }\n")
COMPRESSED = archive(array_bytes() + bytes(1000), zipfile.ZIP_DEFLATED)
CONTENTS = {
    "empty": b"",
    "text": b"junk",
    "an array": array_bytes(),
    "a huge array": HUGE,
    "a header that ends early": header(b"(("),
    "an archive of texts": archive(b"junk"),
    "an archive of other arrays": archive(array_bytes()),
    "an archive of huge arrays": archive(HUGE),
    "an archive of headers that end early": archive(header(b"((")),
    "an archive that is damaged": COMPRESSED[:45] + b"\xff" * 8 + COMPRESSED[53:],
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_other_contents_are_refused(content: bytes) -> None:
    folder = Path("bundle")
    with pytest.raises(BundleError, match=r"bundle: user_map\.npz .*damaged, publish it again"):
        parse_user_map(folder, content)
    with pytest.raises(BundleError, match=r"bundle: item_trends\.npz .*damaged, publish it again"):
        parse_trends(folder, content, N_ITEMS)
    with pytest.raises(BundleError, match=r"bundle: item_map\.npy .*damaged, publish it again"):
        parse_map(folder, content, N_ITEMS)
