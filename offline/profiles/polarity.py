"""Polarity of a mention: whether a text speaks against the thing that it names.

Read are the label or heading of a list, what precedes the mention in its clause, and what is said of it afterwards.
In doubt a mention counts as negated: a theme that is left out is the smaller error.
"""

import re
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from retort.offline.profiles.item_facts import column_words

_READERS = r"(?:they|he|she|the user|this (?:user|person))"
_NEGATIVE = re.compile(
    r"\b(dislik\w*|avoid\w*|disinterest\w*|uninterested|averse|aversion|antipathy|steer\w* clear|reject\w*|never|rarely"
    r"|seldom|hardly|barely|not|no|nor|neither|none|rather than|instead of|away from|without|cannot"
    r"|loath\w+|detest\w*|despis\w*|abhor\w*|resent\w*|hat(?:e|es|ed|ing|red)|shun\w*|skip\w*|ignor\w*|dismiss\w*"
    r"|uninspired|indifferent|indifference|allergic|opposed|oppos(?:es|ition)|turn(?:s|ed)? (?:off|away)|turn-offs?"
    r"|(?:tired|weary|wary) of|bored (?:by|with|of)|moved on from|gr(?:ew|own) out of|outgr(?:ew|own)|cold to"
    r"|except\w*|excluding|excludes?|barring|minus|other than|apart from|aside from|save for|(?:everything|anything"
    r"|all) but|lack\w*|absence of|far from|least|lowest|worst|weakest|weak spots?|cons|drawbacks?"
    r"|turnoffs?|deal-?breakers?"
    r"|(?:little|low|less|limited|minimal|scant) (?:\w+ )?(?:interest\w*|appetite|enthusiasm|taste|appeal|patience"
    r"|affinity|love|time|use|fondness|tolerance)|(?:low|poor|negative|bad) (?:ratings?|scores?|marks?)"
    r"|below (?:\S+ ){0,3}average|rated (?:\w+ ){0,2}(?:below|lower?|poorly|badly)"
    r"|less (?:inclined|drawn|interested|enthusiastic|fond|keen|likely|engaged|attracted)|(?:preference|bias|prejudice)"
    r" against|unlike|unloved|unwanted|unpopular)\b|n['’]t\b"
    # Russian, German, French, Spanish
    r"|\b(?:не|нет|без|кроме|избега\w*|равнодуш\w*|нелюб\w*|ненавид\w*|неприязн\w*|антипати\w*"
    r"|nicht|kein\w*|ohne|außer|meide\w*|vermeide\w*|abneigung|wenig interesse|lehnt|hasst|n['’](?:aime|apprécie)"
    r"|pas|sauf|évit\w*|détest\w*|evita\w*|odia\w*|sin|excepto|rechaz\w*|disgust\w*)\b",
    re.IGNORECASE,
)
# Negations that speak for something.
_EMPHASIS = re.compile(
    r"\b(?:not|n['’]t) (?:only|just|merely|simply|to mention|the only)\b|n['’]t (?:only|just|merely|simply)\b"
    r"|\bnever (?:far|miss\w*|tir\w+|bor\w+|fail\w*|disappoint\w*|get\w* (?:tired|bored|enough))"
    r"(?: (?:of|by|with|from))?"
    r"|\b(?:can(?:['’]t|not| not)|cannot) (?:get enough|resist|live without|do without|go without|have enough)"
    r"|\bwithout (?:end|fail|doubt|question|hesitation)|\bno (?:matter|doubt|question|wonder|surprise)\b"
    r"|\b(?:no|nothing|none)\b[^.;\n]{0,40}\b(?:more|better|as much) (?:\w+ )?than\b"
    r"|\blast but not least\b|\bat least\b"
    r"|\b(?:do|does|did) not (?:mind|avoid|dislike|skip)\b|\bn['’]t (?:mind|avoid|dislike|skip)\b|не только",
    re.IGNORECASE,
)
# A preference of the first of two things, where the mention is the second.
_SECOND = re.compile(
    r"\bprefer\w* (?!to\b)(?:(?!an? )(?:\w+ ){1,3}to|[^,.;:]+? (?:over|above)) (?:\w+ )?\Z"
    r"|\b(?:over|above|before|beyond) (?:any |all |the |pure |plain )?\Z"
    r"|\bmore than \Z",
    re.IGNORECASE,
)
POSITIVE = re.compile(
    r"\b(enjoy\w*|lov(es?|ing)|likes?|prefer\w*|drawn|fond\w*|appreciat\w*|favou?r\w*|passion\w*|inclin\w*|admir\w*)\b",
    re.IGNORECASE,
)
# A verb of liking that begins a new statement: "avoids horror and loves comedy".
_TURN = re.compile(
    r"(?:[,:]|\band|\bthen)\s+(?:\w+ly |instead |rather |also |they |he |she )*"
    r"(?:enjoys?|loves?|likes?|prefers?|favou?rs?|appreciates?|admires?|seeks?|chooses?|(?:is|are) (?:drawn|fond))\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"[.;!?\n]|,? (?:but|while|whereas|although|though|yet|however|in favou?r of|preferring|favou?ring)\b"
    rf"|, {_READERS}\b",
    re.IGNORECASE,
)
_EXCEPTED = re.compile(r"\b(?:everything|anything|all|nothing|none)\W*\Z", re.IGNORECASE)
_NOUN = (
    r"(?:\s*-?\b(?:films?|movies?|books?|games?|stories|story|titles?|items?|things?|products?|ones?|genres?|music"
    r"|fare))?"
)
_SAID_AFTER = re.compile(
    rf"{_NOUN}(?:\s*,?\s*(?:which|that) (?:{_READERS} |(?=lack))|\s*[:(–—-]\s*(?!not? )|\s*)"
    r"(?:(?:is|are|was|were|be|been|being|has|have|had|gets?|got|seems?|appears?|remains?|do|does|did|can|could|will"
    r"|would|to|rated|ranked|scored|clearly|mostly|largely|often|usually|generally|actively|strongly|consistently"
    r"|almost|rather|quite|very|much|tends? to be)\b ?"
    r"|(?:is|are|was|were|has|have|do|does|did|ca|wo|would|could)(?=n['’]t))*"
    r"(?:dislik\w*|avoid\w*|skipp?\w*|ignor\w*|reject\w*|shunn?\w*|hate[sd]?|loath\w+|detest\w*|despis\w*|dismiss\w*"
    r"|absent|missing|rare(?:ly)?|seldom|hardly|never|not\b|n['’]t|no\b|excluded|unwelcome|unpopular|unloved|below|poorly"
    r"|badly|low\b|lower|lowest|least|worst|bor(?:e|es|ed|ing)\b|an? turn-?off|disappoint\w*|fails?\b|lacks?\b"
    r"|leav\w+ (?:\w+ ){1,3}cold|puts? (?:\w+ ){1,3}off|excepted|не\b|nicht\b|избега\w*)",
    re.IGNORECASE,
)
# A label after a mention, such as "Horror (disliked_by: critics)".
_LABEL_AFTER = re.compile(r"\s*[:(,–—-]?\s*([^\W\d_][\w '’/-]{0,40}?)\s*[:=]")
_JOINED = re.compile(rf"{_NOUN}\s*(?:,|/|&|and|or|nor|, and|, or|as well as|и|und|et|y)\s*\Z", re.IGNORECASE)
# Negations after a mention that speak for it.
_EMPHASIS_AFTER = re.compile(
    r"\A\W*(?:(?:is|are|was|were) )?(?:not|n['’]t|never) (?:only|just|far|the only|absent|missing)", re.IGNORECASE
)
_LABEL = re.compile(r"[\s\-–*#>•|]*([^\W\d_][\w '’/&-]{1,40}(?:\([^)\n]*\))?)\s*\**\s*(?::|\s[–—-]\s|\*\*)")
_BOLD = re.compile(r"[\s\-•]*\*\*([^*\n]{2,60})\*\*")
_BULLET = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
_HEADING = re.compile(r"\s*(#+\s*|\*\*)?([^\W\d_][^\n:*]{1,60}?)\**(:?)\**\s*$")
# How far a word reaches: a text that names a thousand things in one clause must not take minutes.
_REACH_CHARS, _REACH_MENTIONS = 400, 12
_FEW_WORDS = 5  # of a part after a semicolon that continues a list


class Preceding(NamedTuple):
    """What precedes a mention: the label of its line or list, such as `Dislikes` ("" without one), and its clause."""

    label: str
    clause: str


def clauses(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each clause of a text starts and ends."""
    start = 0
    for found in _CLAUSE.finditer(text):
        if found.group().strip() == "." and text[found.end() : found.end() + 1].isdigit():
            continue
        if found.group().strip(" ,").lower() == "but" and _EXCEPTED.search(text[start : found.start()]):
            continue  # "everything but war" is one clause
        yield start, found.start()
        start = found.end() if len(found.group()) == 1 else found.start()
    yield start, len(text)


def before(text: str, clause_start: int, at: int) -> Preceding:
    """Return what precedes the mention that starts at `at`."""
    line_start = text.rfind("\n", 0, at) + 1
    clause = _with_list(text, max(clause_start, line_start, at - _REACH_CHARS), at)
    return Preceding(_label(text, line_start, at), clause)


def is_negative(words: str) -> bool:
    """Whether words speak against what follows them."""
    return bool(_NEGATIVE.search(_EMPHASIS.sub(" ", words)))


def is_negated(
    text: str,
    clause_end: int,
    mentions: Sequence[tuple[int, int]],
    preceding: Preceding,
    columns: Set[str] = frozenset(),
) -> bool:
    """Whether a text speaks against what it mentions.

    Args:
        mentions: Start and end of the mention, then those of the later mentions of its clause.
        preceding: What precedes the mention.
        columns: Words of the names of the catalogue's columns, which say nothing of the mention before them.
    """
    return _negated_before(preceding) or _negated_after(text, clause_end, mentions, columns)


def _negated_before(preceding: Preceding) -> bool:
    if is_negative(preceding.label):
        return True
    clause = _EMPHASIS.sub(" ", preceding.clause)
    turns = list(_TURN.finditer(clause))
    negative = _NEGATIVE.search(clause)
    if turns and negative and negative.start() < turns[-1].start():
        clause = clause[turns[-1].start() :]
    return bool(_NEGATIVE.search(clause) or _SECOND.search(clause))


def _negated_after(text: str, clause_end: int, mentions: Sequence[tuple[int, int]], columns: Set[str]) -> bool:
    """Whether the words after the first mention, or after those joined with it, speak against it."""
    end = mentions[0][1]
    for next_start, next_end in mentions[1 : 1 + _REACH_MENTIONS]:
        if not _JOINED.fullmatch(text[end:next_start]):
            break
        end = next_end
    line_end = text.find("\n", end)
    rest = text[end : min(len(text) if line_end < 0 else line_end, end + _REACH_CHARS)]
    rest = rest if rest.lstrip().startswith((",", "(")) else rest[: max(0, clause_end - end)]
    if (label := _LABEL_AFTER.match(rest)) and column_words(label.group(1)) in columns:
        return False
    return bool(_SAID_AFTER.match(rest)) and not _EMPHASIS_AFTER.match(rest)


def _with_list(text: str, start: int, at: int) -> str:
    """A clause, with the parts before its semicolons as long as they are a list."""
    while start > 0 and text[start - 1] == ";" and _continues_list(text[start:at]):
        start = max(text.rfind(mark, 0, start - 1) for mark in ".!?\n;") + 1
    return text[start:at]


def _continues_list(part: str) -> bool:
    is_statement = POSITIVE.search(part) or re.search(r"\b(?:is|are|was|were|has|have)\b", part)
    return len(part.split()) <= _FEW_WORDS and not is_statement


def _label(text: str, line_start: int, at: int) -> str:
    """The label of a line, else the heading that it stands under, else ""."""
    line = text[line_start:at]
    if label := _LABEL.match(line) or _BOLD.match(line):
        return label.group(1)
    if re.match(r"\s*#", line):
        return ""
    is_bullet = bool(_BULLET.match(line))
    indent = len(line) - len(line.lstrip())
    gap = left = False  # an empty line above; another paragraph above that
    for above in reversed(text[:line_start].split("\n")[:-1]):
        if not above.strip():
            gap = True
            continue
        if is_bullet and len(above) - len(above.lstrip()) < indent and (label := _LABEL.match(above)):
            return label.group(1)
        heading = None if _BULLET.match(above) else _HEADING.match(above)
        marks = heading.group(1) or "" if heading else ""
        if heading and (marks.startswith("#") or (not left and (is_bullet or marks or heading.group(3)))):
            return heading.group(2)
        left = left or gap
    return ""
