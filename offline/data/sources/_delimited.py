"""Delimited text as a stream of UTF-8 blocks: encodings, separators, the header, and quotes that are not closed."""

import codecs
import csv
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from retort.offline.data.sources._json_lines import open_bytes
from retort.shared.base.errors import DataError

UNIT_SEPARATOR = "\x1f"  # replaces separators of several characters
BLOCK_BYTES = 1 << 22
MAX_HEADER_BYTES = 1 << 22
# first bytes → encoding; UTF-16's mark is the beginning of UTF-32's
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_INSIDE = re.compile(rb'[^"]*+(?:""[^"]*+)*+')


class QuoteScanner:
    """Search for a quote that opens a value and is not closed before the value's end.

    Arrow reads on to the next quote, or to the end of the file, without an error. A quoted line break is no error: its
    closing quote is before a separator or a line end.
    """

    def __init__(self, file: str, delimiter: str, first_row: int) -> None:
        ends = b"[" + re.escape(delimiter.encode()) + rb"\r\n]"
        # other text; a quoted value; a quote inside a value; a quoted value of one line that goes on after its quote
        self._outside = re.compile(
            rb'(?:[^"]++|(?<=' + ends + rb")" + _QUOTED + rb"(?=" + ends + rb")|(?<!" + ends + rb')")*+'
        )
        self._ends = delimiter.encode() + b"\r\n"
        self._file, self.lines = file, first_row - 1
        self._before = b"\n"
        self._opened: int | None = None  # row of the open quote
        self._spans_lines = False

    def feed(self, block: bytes) -> None:
        """Read the next block.

        Raises:
            DataError: A quoted value that spans lines does not end where its quote closes.
        """
        if b'"' in block or self._opened is not None or self._before.endswith(b'"'):
            self._scan(self._before + block)
        else:
            self._before = block[-1:] or self._before
        self.lines += block.count(b"\n") or block.count(b"\r")

    def finish(self) -> None:
        """Raise DataError if the file ends inside a quoted value."""
        if self._opened is not None and self._before != b'"':
            raise self._error(self._opened)

    def _scan(self, data: bytes) -> None:
        at = 0 if self._opened is not None else min(1, len(data))
        while at < len(data):
            start = at
            if self._opened is None:
                at = self._outside.match(data, at).end()  # type: ignore[union-attr]
                if at == len(data):
                    break
                self._opened, self._spans_lines = self.lines + 1 + _line_ends(data[1:at]), False
                start = at = at + 1
            at = _INSIDE.match(data, at).end()  # type: ignore[union-attr]
            self._spans_lines = self._spans_lines or _line_ends(data[start:at]) > 0
            if at >= len(data) - 1:
                self._before = data[at:]
                return
            if data[at + 1] not in self._ends and self._spans_lines:
                raise self._error(self._opened)
            self._opened = None
            at += 1
        self._before = data[-1:]

    def _error(self, row: int) -> DataError:
        return DataError(
            f"{self._file}, row {row}: a quote opens a value here and is not closed at the value's end; close it, or "
            'write the value in quotes with every quote inside it doubled ("").'
        )


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") or data.count(b"\r")


class DelimitedStream(io.RawIOBase):
    """The records of a delimited file after its header, as UTF-8 with a separator of one character."""

    def __init__(self, path: Path, separator: str, encoding: str, *, quoted: bool, has_header: bool) -> None:
        self.delimiter = separator if len(separator) == 1 else UNIT_SEPARATOR
        self._blocks = _utf8_blocks(path, separator, encoding)
        self._rest = next(self._blocks, b"").removeprefix(codecs.BOM_UTF8)
        self.header = _column_names(self._take_line(path, quoted), path, self.delimiter, quoted) if has_header else []
        self._scanner = QuoteScanner(path.name, self.delimiter, 1 + has_header) if quoted else None
        self._first_row = 1 + has_header
        if self._scanner:
            self._scanner.feed(self._rest)

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer at the end only: each answer is one of Arrow's blocks.

        Raises:
            DataError: A quote is not closed.
        """
        parts, wanted = [], size if size >= 0 else sys.maxsize
        while wanted and (self._rest or self._next_block()):
            parts.append(self._rest[:wanted])
            self._rest = self._rest[wanted:]
            wanted -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _next_block(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            if self._scanner:
                self._scanner.finish()
            return False
        if self._scanner:
            self._scanner.feed(block)
        self._rest = block
        return True

    def read_to_end(self) -> None:
        """Check the quotes of everything that is left."""
        while self.read(BLOCK_BYTES):
            pass

    @property
    def n_lines(self) -> int:
        """Number of line ends read so far, without the header's."""
        return self._scanner.lines - self._first_row + 1 if self._scanner else 0

    def _take_line(self, path: Path, quoted: bool) -> bytes:
        """Remove the first record from the stream; a quoted name may contain line ends."""
        starts = rb"(?:(?<=[" + re.escape(self.delimiter.encode()) + rb"])|\A)"
        inner = rb'(?:[^"\r\n]++|' + starts + _QUOTED + rb"|(?!" + starts + rb')")*+' if quoted else rb"[^\r\n]*+"
        record = re.compile(inner)
        while True:
            end = record.match(self._rest).end()  # type: ignore[union-attr]
            if end >= MAX_HEADER_BYTES:
                raise DataError(
                    f"{path.name}, row 1 is longer than {MAX_HEADER_BYTES >> 20} MiB; is this a table with one record "
                    "a line?"
                )
            # a "\r" at the very end may be followed by its "\n", and an open quote by its end
            is_open = self._rest[end : end + 1] == b'"'
            if (end < len(self._rest) - 1 and not is_open) or (block := next(self._blocks, None)) is None:
                break
            self._rest += block
        if is_open:
            raise DataError(f"{path.name}, row 1: a quote in the header is not closed; close it.")
        line, rest = self._rest[:end], self._rest[end:]
        self._rest = rest.removeprefix(b"\r\n") if rest.startswith(b"\r\n") else rest[1:]
        return line


def _utf8_blocks(path: Path, separator: str, encoding: str) -> Iterator[bytes]:
    """Yield the file's bytes, converted where it is another encoding or has a longer separator."""
    with open_bytes(path) as file:
        first = file.read(BLOCK_BYTES)
        plain = codec_name(encoding) in ("utf-8", "utf-8-sig")
        marked = next((name for mark, name in MARKS.items() if first.startswith(mark)), None)
        if plain and marked:
            raise DataError(
                f'{path.name} is {marked.upper()} text; set encoding = "{marked}" in [data.options], or save it as '
                "UTF-8."
            )
        blocks = _following(first, file)
        if plain and len(separator) == 1:
            yield from blocks
            return
        for text in _decoded(path, blocks, encoding, whole_lines=len(separator) > 1):
            yield (text if len(separator) == 1 else text.replace(separator, UNIT_SEPARATOR)).encode()


def codec_name(encoding: str) -> str:
    """Return Python's name of an encoding.

    Raises:
        DataError: There is none.
    """
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f'the encoding {encoding!r} in [data.options] is unknown; name one such as "utf-8", "latin-1" or "utf-16".'
        ) from None


def _following(first: bytes, file: IO[bytes]) -> Iterator[bytes]:
    block = first
    while block:
        yield block
        block = file.read(BLOCK_BYTES)


def _decoded(path: Path, blocks: Iterator[bytes], encoding: str, *, whole_lines: bool = False) -> Iterator[str]:
    """Yield text; whole lines, where a separator of several characters must not be cut."""
    decoder, rest, n_lines = codecs.getincrementaldecoder(encoding)(), "", 0
    for block in blocks:
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            raise undecodable(path, error, encoding, n_lines + rest.count("\n")) from error
        rest += text
        cut = rest.rfind("\n") + 1 if whole_lines else len(rest)
        n_lines += rest.count("\n", 0, cut)
        if cut:
            yield rest[:cut]
        rest = rest[cut:]
    try:
        yield rest + decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise undecodable(path, error, encoding, n_lines) from error


def undecodable(path: Path, error: UnicodeDecodeError, encoding: str, n_lines: int) -> DataError:
    """Return the error that names the row of the bytes that are not text."""
    before = error.object[: error.start].decode(encoding, "replace")
    return DataError(
        f"{path.name}, row {n_lines + before.count(chr(10)) + 1}: the bytes {error.object[error.start : error.end]!r} "
        f"are not {encoding} text; save the file as UTF-8, or name its encoding in [data.options]."
    )


def refuse_undecodable(path: Path, encoding: str) -> None:
    """Raise DataError if the file contains bytes that are not text of this encoding."""
    with open_bytes(path) as file:
        for _ in _decoded(path, _following(file.read(BLOCK_BYTES), file), encoding):
            pass


def _column_names(line: bytes, path: Path, delimiter: str, quoted: bool) -> list[str]:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        names = next(csv.reader([line.decode()], delimiter=delimiter, quoting=quoting), [])
    except UnicodeDecodeError as error:
        raise undecodable(path, error, "utf-8", 0) from error
    except csv.Error:
        raise DataError(
            f"{path.name}, row 1: a column name has more than {csv.field_size_limit():,} characters; the first row "
            "must contain the column names, each separated and with closed quotes."
        ) from None
    if any("\0" in name for name in names):
        raise DataError(f"{path.name}, row 1: a NUL byte in the header; remove it, or name the encoding of the file.")
    if len(names) <= 2 and re.fullmatch(r"sep=.?", line.decode().strip('" ')):
        raise DataError(f'{path.name}, row 1: remove the line "sep=", which only spreadsheet programs understand.')
    duplicate = next((name for name in names if name and names.count(name) > 1), None)
    if duplicate is not None:
        raise DataError(f"{path.name}, row 1: column {duplicate!r} appears twice in the header; rename one of them.")
    return names
