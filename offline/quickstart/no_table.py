"""Refusal of files that are no table, each with what to do: a wrong path, a directory, a spreadsheet, an archive."""

from difflib import get_close_matches
from pathlib import Path

from retort.offline.data.sources._json_lines import open_bytes, refuse_empty
from retort.shared.base.errors import DataError

_TABLES = ("csv", "tsv", "tab", "txt", "parquet", "jsonl", "ndjson", "json", "inter", "item", "dat", "data")
_SPREADSHEETS = ("xlsx", "xls", "ods")
# first bytes → kind of file, how to unpack it
_ARCHIVES = {
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save it as CSV"),
    b"BZh": ("compressed by bzip2", "unpack it with `bunzip2`"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it with `unxz`"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it with `unzstd`"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it"),
    b"SQLite format 3": ("an SQLite database", "export its table as CSV"),
    b"PAR1": ("a Parquet file", "end its name in .parquet"),
}
_GZIP = b"\x1f\x8b"


def refuse_what_is_no_table(path: Path) -> None:
    """Raise DataError for a path that cannot be a table; the sentence names the remedy."""
    if path.is_dir():
        raise DataError(f"{path} is a directory; name the file with the events in it{_tables_in(path)}.")
    if not path.is_file():
        raise DataError(f"there is no file {path}; correct the path{_alike(path)}.")
    refuse_empty(path)
    suffix = suffix_of(path)
    with path.open("rb") as file:
        head = file.read(16)
    if suffix in _SPREADSHEETS:
        raise DataError(f"{path.name} is a spreadsheet; save it as CSV and give that file.")
    for start, (kind, remedy) in _ARCHIVES.items():
        if head.startswith(start) and suffix != "parquet":
            raise DataError(f"{path.name} is {kind}; {remedy}, and give that file.")
    if head.startswith(_GZIP) and path.suffix != ".gz":
        raise DataError(f"{path.name} is compressed by gzip; rename it to {path.name}.gz.")
    if suffix in ("jsonl", "json", "ndjson"):
        _refuse_array(path)


def suffix_of(path: Path) -> str:
    """Return the suffix that names the kind of file, in lower case and without .gz."""
    return path.name.removesuffix(".gz").rpartition(".")[2].lower()


def _refuse_array(path: Path) -> None:
    with open_bytes(path) as file:
        head = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"["):
        raise DataError(
            f"{path.name} is one JSON array; write one object on each line (`jq -c '.[]' {path.name} > "
            f"{path.stem}.jsonl` does it) and give that file."
        )


def _alike(path: Path) -> str:
    """Return the names of similar files beside a wrong path, as the end of a sentence."""
    if not path.parent.is_dir():
        return f": there is no directory {path.parent} either"
    names = [file.name for file in path.parent.iterdir() if file.is_file()]
    near = get_close_matches(path.name, names, n=3)
    return f": there is {', '.join(near)}" if near else _tables_in(path.parent)


def _tables_in(directory: Path) -> str:
    tables = sorted(file.name for file in directory.iterdir() if file.is_file() and suffix_of(file) in _TABLES)
    return f" (there: {', '.join(tables[:8])}{', …' if len(tables) > 8 else ''})" if tables else ""
