"""Content hashes, which identify finished work: run directories, bundles, cache entries."""

import hashlib
from pathlib import Path

import orjson


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: object) -> str:
    """Return the SHA-256 of a JSON value in canonical form (sorted keys), in hex."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
