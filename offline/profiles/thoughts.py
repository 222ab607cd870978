"""Thoughts of reasoning models: cut from a reply, so that only the answer is stored."""

import re

# Qwen and DeepSeek write <think>, Magistral [THINK], Kimi ◁think▷; other models use similar names.
_THOUGHT = (
    r"(?:\w+:)?(?:(?:inner|internal|my|chain_of|begin_of)[_ -]?)?(?:think(?:ing)?|thoughts?|reason(?:ing)?"
    r"|reflect(?:ion)?|analysis|scratchpad|monologue|ponder(?:ing)?|cot|plan(?:ning)?|draft|denken|gedanken|réflexion|pensée"
    r"|размышлени[ея]|мысли|思考|思考过程)(?:_?(?:process|steps?))?"
)
_OPENED = rf"(?:<|\[|◁)\s*{_THOUGHT}\b[^<>\]▷]{{0,80}}(?:>|\]|▷)"
_CLOSED = rf"(?:<|\[|◁)\s*[/\\]\s*{_THOUGHT}\s*(?:>|\]|▷)"
_THOUGHTS = re.compile(rf"{_OPENED}.*?{_CLOSED}", re.IGNORECASE | re.DOTALL)
_LAST_CLOSED = re.compile(rf"\A.*{_CLOSED}", re.IGNORECASE | re.DOTALL)
_CLOSED_TAG = re.compile(_CLOSED, re.IGNORECASE)
_LEFT_OPEN = re.compile(_OPENED, re.IGNORECASE)
# gpt-oss marks its channels; tokens of a chat template may also stay at the end of a reply.
_FINAL_CHANNEL = re.compile(r"\A.*<\|channel\|>\s*final\b[^<]*<\|message\|>", re.DOTALL)
# Other models mark thoughts and answer by tokens: Cohere <|START_THINKING|>, OpenThoughts <|begin_of_thought|>, Gemma's
# reserved <unused94> and <|channel>thought … <channel|>.
_TOKEN_THOUGHTS = re.compile(
    r"<\|(?:start|begin)_(?:of_)?think(?:ing)?\|>.*?<\|end_(?:of_)?think(?:ing)?\|>"
    r"|<\|begin_of_thought\|>.*?<\|end_of_thought\|>|<\|/?think(?:ing)?\|>.*?<\|/think(?:ing)?\|>"
    r"|<unused94>.*?<unused95>|<\|channel>thought\b.*?<channel\|>",
    re.IGNORECASE | re.DOTALL,
)
_CHAT_MARKER = r"<\|?/?[A-Za-z_]{2,24}\|>|<(?:start|end)_of_turn>|<unused\d+>|\[/?INST\]"
_TOKEN_CLOSED = re.compile(r"<\|end_(?:of_)?th|<\|/think|<unused95>|<channel\|>", re.IGNORECASE)
_TEMPLATE_END = re.compile(rf"(?:{_CHAT_MARKER}|</s>)\Z")
_MAX_TOKEN_CHARS = 40
_TEMPLATE_START = re.compile(
    r"\A(?:\s*(?:<s>|<\|(?:start_response|begin_of_solution|assistant)\|>|<start_of_turn>model\b))+\s*", re.IGNORECASE
)
# An answer in a wrapper of its own, as prompts for reasoning ask for it.
_WRAPPED = re.compile(
    r"\A\s*<(answer|final_?answer|final|response|output|result|text|summary|description)>\s*(.*?)\s*</\1>\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
# Formatting of web pages is no thought.
_HTML = (
    r"(?!/?(?:[abiupqs]|br|hr|em|strong|[uod]l|li|d[td]|span|div|h[1-6]|su[bp]|small|table|t[rdh]|img|font|center)\b)"
)
_TAG = re.compile(
    rf"<{_HTML}/?[^\W\d_][\w:.-]{{0,40}}(?: [^<>\n]{{0,80}})?/?>|&lt;{_HTML}/?\w{{1,40}}&gt;|[<◁]/?\w{{2,30}}▷"
)
# How thoughts begin, and what an author who is still writing says anywhere.
_THINKS_ALOUD = re.compile(
    r"\A\W*(?:(?:okay|ok|alright|hmm+|right|well|first|now|so|wait),? (?:so,? )?"
    r"(?:i (?:need|have|should|will|am|must|['’]ll)|we (?:need|have|should|must)|let me|let['’]s"
    r"|the (?:user|prompt|task) (?:wants|asks|says|requires))|let me (?:think|analy[sz]e|start|begin|look)"
    r"|let['’]s (?:think|start|begin|look|analy|break|see\b|write|go (?:through|over)"
    r"|consider|craft|examine|review|count)"
    r"|(?:here(?:['’]s| is) (?:a |my |the )?)?(?:thinking|thought|reasoning) (?:process|steps?)\b"
    r"|(?:thinking|reasoning|thoughts?|chain of thought|scratchpad)\W{0,4}[:\n]|we (?:need to|are asked|must)\b|hmm\b"
    r"|the (?:user|prompt|task) (?:wants|asks) (?:me|us|for)|analysis(?=we\b|the user\b|user\b)"
    r"|(?:хорошо|итак|ладно), (?:мне|я|нужно|давай)|мне нужно|好的|首先|我需要|嗯|okay, ich|ich muss (?:nun|jetzt))",
    re.IGNORECASE,
)
_PLANS = re.compile(
    r"\b(?:i|we)(?:['’]ll| will| need to| should| must| have to| can now|['’]m going to| am going to) (?:\w+ ){0,2}?"
    r"(?:write|describe|make sure|double[- ]?check|check (?:the|again|if|that)|summari[sz]e|output|draft|craft"
    r"|analy[sz]e|produce|mention)\b|\blet me (?:\w+ )?(?:think|analy[sz]e|check|re-?read|re-?check|count|draft|write)"
    r"|\bwait, (?:i|let|the|maybe|actually)\b|assistantfinal|мне нужно (?:написать|описать|составить)",
    re.IGNORECASE,
)
# Words that announce the answer: "Sure! Here is the profile:", a label such as "**Profile:**", or "Sure!" alone.
_ANSWER_LABEL = re.compile(
    r"\A(?:(?:sure|certainly|of course|absolutely)\b\W{1,3})?"
    r"(?:here(?:['’]s| is| are) [^\n:]{0,80}:"
    r"|final answer\W{0,3}:|(?<=[!.,] )"
    r"|\**(?:user |customer |taste |preference )?(?:profile|summary|answer|description)\**:\**)\s*",
    re.IGNORECASE,
)


def cut_thoughts(raw: str) -> tuple[str, str | None]:
    """Return a reply without what a reasoning model thought before it, and a problem if only thoughts are left."""
    text = _FINAL_CHANNEL.sub("", raw.strip())
    text = _TOKEN_THOUGHTS.sub("", text) if _TOKEN_CLOSED.search(text) else text
    if _CLOSED_TAG.search(text):  # else each opening tag would be searched for its end
        text = _LAST_CLOSED.sub("", _THOUGHTS.sub("", text))
    text = _without_template_tokens(text)
    if wrapped := _WRAPPED.match(text):
        text = wrapped.group(2)
    if _LEFT_OPEN.search(text) or re.search(r"<\|channel\|>", text):
        return text, "ends within the model's thoughts (raise max_output_tokens or turn its reasoning off)"
    if re.search(_CHAT_MARKER, text):
        return text, "contains tokens of the chat template"
    if _THINKS_ALOUD.search(text) or _PLANS.search(text):
        return text, "the model thinks aloud instead of answering"
    return text, None


def _without_template_tokens(text: str) -> str:
    """The text without tokens of the chat template around it."""
    text = text.strip()
    while found := _TEMPLATE_END.search(text, max(0, len(text) - _MAX_TOKEN_CHARS)):
        text = text[: found.start()].rstrip()
    return _TEMPLATE_START.sub("", text).strip()


def cut_preface(text: str) -> str:
    """Return a reply in prose without the words that announce it, such as `Here is the profile:`."""
    return _ANSWER_LABEL.sub("", text, count=1)


def has_tags(text: str) -> bool:
    """Whether a text holds tags other than those of web pages; a reasoning model may call its thoughts by any name."""
    return bool(_TAG.search(text))
