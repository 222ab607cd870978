"""Privacy checks: a profile must not contain contact data, the user's id, private attributes or copied item text."""

import re
from collections.abc import Sequence

from retort.offline.profiles.history import Event

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}")
_WEB = re.compile(r"\b(?:https?://|www\.)\S+|\bjavascript:|<\s*(?:script|img|iframe|a)\b|\]\(\S+\)", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.])\+?\d[\d ()./-]{8,}\d(?![\w%])")
_PRIVATE = re.compile(
    r"\b(?:the (?:user|person)|they|he|she) (?:is|are|was|appears? to be|seems? to be|might be|may be)(?: likely)?"
    r"(?: an?)? (?:(?:young|old|older|elderly|middle-aged|adult|teenage|single|married|divorced|widowed) )?"
    r"(?:\d{1,2}[- ]years?[- ]old|male|female|man|woman|boy|girl|teenager|mother|father|parent|gay|lesbian|bisexual"
    r"|christian|muslim|jewish|hindu|buddhist|atheist|pregnant|disabled|depressed|democrat|republican|immigrant)\b",
    re.IGNORECASE,
)
_PERSON = (
    r"(?:male|female|man|woman|boy|girl|lady|gentleman|teen(?:ager)?|mother|father|mom|mum|dad|parent|grand(?:mother"
    r"|father|parent)|husband|wife|widow(?:er)?|senior|retiree|pensioner|student|child|adult)"
)
_READER = r"(?:user|person|individual|viewer|customer|shopper|buyer|reader|listener|consumer)"
_AGE_WORD = r"(?:young|old|older|elderly|middle[- ]aged|teenage|adult|single|married|divorced|widowed|retired)"
_STATED = re.compile(
    rf"\b\d{{1,3}}[- ]?(?:years?|yrs?)[- ]?old,? (?:\w+ )?(?:{_PERSON}|{_READER})\b"
    rf"|\b(?:is|are|was|aged|age|around|about|approximately|likely) \d{{1,3}}[- ]?(?:years?|yrs?)[- ](?:old|of age)\b"
    r"|\baged? (?:about |around )?\d{2}\b"
    rf"|(?<!such )\bas an? (?:{_AGE_WORD} )?{_PERSON}\b(?!['’])"
    rf"|\b(?:the|this|a|an) (?:{_AGE_WORD} )?(?:male|female) {_READER}\b"
    rf"|(?:\b(?:the|this)|(?:\A|[.!?]\s+)an?) {_AGE_WORD} (?:{_PERSON}|{_READER}) "
    r"(?:who|is|with|enjoys|likes|prefers|seems)"
    r"|\bin (?:his|her|their) (?:early |mid[- ]|late )?(?:teens|twenties|thirties|forties|fifties|sixties|[2-8]0s)\b"
    r"|\bidentif(?:y|ies) as\b",
    re.IGNORECASE,
)
_NUMBER_WORD = (
    r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty)(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?"
)
_BELIEVER = r"(?:christian|catholic|protestant|evangelical|muslim|jew(?:ish)?|hindu|buddhist|sikh|atheist|agnostic)"
_ORIGIN = (
    r"(?:black|white|asian|african|african[- ]american|latin[oa]|hispanic|caucasian|european|american|german|french"
    r"|russian|chinese|japanese|indian|turkish|arab)"
)
_ORIENTATION = r"(?:heterosexual|homosexual|straight|gay|lesbian|bisexual|queer|transgender|non-?binary)"
_JOB = (
    r"(?:nurse|teacher|doctor|engineer|lawyer|soldier|veteran|manager|programmer|developer|farmer|driver|professor"
    r"|scientist|artist|musician|(?:home|house)(?:maker|wife)|vegetarian|vegan|voter|smoker|immigrant|refugee)"
)
_SUBJECT = rf"(?:(?:the|this) {_READER}|they|he|she)"
_IS = (
    r"(?:(?:is|are|was|were|may be|might be|could be|must be|seems?|appears?|seems? to be|appears? to be|sounds? like)"
    r"(?: (?:likely|probably|possibly|presumably|perhaps|clearly|most likely))?(?: to be)?|likely|probably|possibly)"
)
# What a statement about the user, and not about an item, says.
_ABOUT_USER = re.compile(
    rf"\b{_SUBJECT} {_IS}(?: an?| in)? (?:\w+ )?(?:{_PERSON}|{_BELIEVER}|{_ORIGIN}|{_ORIENTATION}|{_JOB})\b(?!['’])"
    r"(?! (?:films?|movies?|books?|games?|stories|cinema|music|literature|titles?|characters?|comed\w+|dramas?))"
    rf"|\b{_SUBJECT} (?:suffers? from|(?:has|have) (?:been )?(?:diagnosed|children|kids|a (?:son|daughter|baby"
    r"|husband|wife|disability|mortgage|(?:low|high) income)|depression|diabetes|anxiety|autism|adhd)|lives? in"
    r"|resides? in|works? (?:as|in|at|for)|earns?|votes?|belongs? to"
    r"|(?:is|are) (?:on a (?:low|tight|high)|wealthy|poor\b|rich\b|unemployed|retired|married|divorced"
    r"|pregnant|disabled|depressed|religious|ill\b))"
    rf"|\b(?:likely|probably|possibly|presumably) an? (?:\w+ )?{_PERSON}\b"
    rf"|\b{_READER},? \(?(?:aged? )?(?:male|female|man|woman|\d{{2}})\b(?!%| ?(?:films?|movies?|items?|choices?))"
    r"|(?:\A|[.!?\n][ \t]*)(?:he|she) (?:\w+ly |also |often |tends? |seems? |is |has )*(?:to )?"
    r"(?:enjoy|lik|lov|prefer|favou?r|appreciat|avoid|dislik|watch|read|buy|choos|return|drawn|fond|seek|admir"
    r"|gravitat|appear)\w*"
    r"|(?:\A|[.!?\n][ \t]*)(?:his|her) (?:\w+ )?"
    r"(?:tastes?|preferences?|interests?|favou?rites?|choices?|history|habits?|viewing|profile)\b"
    r"|(?:\A|[.!?\n][ \t]*)an? (?:\w+ )?(?:man|woman|boy|girl|student|teen(?:ager)?|retiree|housewife) (?:who|with) "
    r"(?:\w+ly )?(?:enjoys|likes|loves|prefers|is drawn|favou?rs|an? (?:\w+ )?(?:taste|preference|love))"
    r"|\b(?:gender|sex|age|nationality|religion|ethnicity|occupation|marital status|income)\W{0,3}:\s*\w"
    rf"|\b(?:{_NUMBER_WORD})[- ]years?[- ]old (?:\w+ )?(?:{_PERSON}|{_READER})\b"
    rf"|\b{_SUBJECT} {_IS} {_NUMBER_WORD} years old\b"
    r"|\b(?:middle[- ]aged|(?:twenty|thirty|forty)-something|millennial|gen[- ]?[zx]|(?:baby )?boomer) "
    rf"(?:{_READER}|who\b)"
    rf"|\b{_SUBJECT} (?:was|were) born in\b|\bborn in (?:19|20)\d\d, {_SUBJECT}"
    rf"|\bas an? (?:devout |practi[cs]ing |young |proud )?(?:{_BELIEVER}|{_ORIENTATION}|{_JOB}),? (?:\w+ )?{_SUBJECT}"
    rf"|\bas (?:a parent|parents) of\b|\ban? (?:devout|practi[cs]ing) {_BELIEVER}\b(?! (?:famil|communit|hero|priest))"
    rf"|\b(?:conservative|liberal|republican|democrat\w*) (?:voter|{_READER})\b"
    r"|\b(?:mom|mum|dad|mother|father) of (?:two|three|four|\d)\b",
    re.IGNORECASE,
)
_COPIED_WORDS = 10  # consecutive words; a longer copy would let an item's text control the profile
_WORD = re.compile(r"[^\W_]+")


def find_contact(text: str) -> str | None:
    """Return why a text may not be stored whatever it is about: it contains contact data or a link; or None."""
    if "@" in text and _EMAIL.search(text):
        return "contains an e-mail address"
    if _WEB.search(text):
        return "contains a link"
    return "contains a phone number" if _PHONE.search(text) else None


def find_leak(text: str, user_id: str, events: Sequence[Event]) -> str | None:
    """Return why a text may not be stored, or None.

    Prompts never contain the user's id; this check proves that no reply does.
    """
    if contact := find_contact(text):
        return contact
    if _is_distinctive(user_id) and re.search(rf"(?<!\w){re.escape(user_id)}(?!\w)", text):
        return "contains the user's id"
    if any(stated.search(text) for stated in (_PRIVATE, _STATED, _ABOUT_USER)):
        return "states a private attribute of the user"
    return "copies an item's text" if _copies(text, events) else None


def _is_distinctive(user_id: str) -> bool:
    """Whether an id cannot occur in a text by chance, as short numbers and plain words do."""
    return len(user_id) >= 5 and any(sign.isdigit() or not sign.isalnum() for sign in user_id)


def _copies(text: str, events: Sequence[Event]) -> bool:
    runs = _runs(text)
    return any(not runs.isdisjoint(_runs(part)) for event in events for part in (event.facts.title, event.facts.text))


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[at : at + _COPIED_WORDS]) for at in range(len(words) - _COPIED_WORDS + 1)}
