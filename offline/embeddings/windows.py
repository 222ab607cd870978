"""Windows of long texts that a text encoder can read: cut at token limits, at word boundaries, evenly."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

LongTexts = Literal["chunk_mean", "truncate"]


@dataclass(frozen=True)
class Windows:
    """Windows of several texts.

    Attributes:
        sources: `texts[i]` is a window of text number `sources[i]`.
        tokens: Length of each window.
        n_cut: Texts that are longer than one window.
    """

    texts: list[str]
    sources: list[int]
    tokens: list[int]
    n_cut: int


def cut_windows(texts: Sequence[str], tokenizer: Any, room: int, long_texts: LongTexts) -> Windows:
    """Split texts into windows of at most `room` tokens (special tokens and prefix not counted).

    Args:
        long_texts: chunk_mean: the whole text in windows of equal length, so that their mean weights it evenly;
            truncate: only the first window.
    """
    cut, sources, tokens, n_cut = [], [], [], 0
    encoded = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
    )
    for source, (text, spans) in enumerate(zip(texts, encoded["offset_mapping"], strict=True)):
        n_cut += len(spans) > room
        for start, end in _bounds(text, spans, room)[: None if long_texts == "chunk_mean" else 1]:
            whole = start == 0 and end == len(spans)
            cut.append(text if whole else text[spans[start][0] : spans[end - 1][1]])
            sources.append(source)
            tokens.append(end - start)
    return Windows(cut, sources, tokens, n_cut)


def _bounds(text: str, spans: Sequence[tuple[int, int]], room: int) -> list[tuple[int, int]]:
    """Token ranges that cover the text; a cut moves back to the nearest word start, by at most half a window."""
    if len(spans) <= room:
        return [(0, len(spans))]
    n_windows = ceil(len(spans) / room)
    bounds: list[tuple[int, int]] = []
    start = 0
    while start < len(spans):
        left = max(1, n_windows - len(bounds))
        end = min(len(spans), start + min(room, ceil((len(spans) - start) / left)))
        end = _word_start(text, spans, start, end)
        bounds.append((start, end))
        start = end
    return bounds


def _word_start(text: str, spans: Sequence[tuple[int, int]], start: int, end: int) -> int:
    if end == len(spans):
        return end
    for at in range(end, start + (end - start) // 2, -1):
        first = spans[at][0]
        # sentencepiece includes the space before a word in its token
        if first > 0 and (text[first - 1].isspace() or text[first].isspace()):
            return at
    return end
