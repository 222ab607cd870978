"""Thoughts of reasoning models: cut from a reply, so that only the answer is stored."""

import re

# Qwen and DeepSeek write <think>, Magistral [THINK], Kimi ◁think▷; other models use similar names.
_THOUGHT = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad)"
_OPENED = rf"(?:<|\[|◁)\s*{_THOUGHT}\b[^<>\]▷]{{0,80}}(?:>|\]|▷)"
_CLOSED = rf"(?:<|\[|◁)\s*/\s*{_THOUGHT}\s*(?:>|\]|▷)"
_THOUGHTS = re.compile(rf"{_OPENED}.*?{_CLOSED}", re.IGNORECASE | re.DOTALL)
_LAST_CLOSED = re.compile(rf"\A.*{_CLOSED}", re.IGNORECASE | re.DOTALL)
_LEFT_OPEN = re.compile(rf"{_OPENED}", re.IGNORECASE)
# gpt-oss marks its channels; tokens of a chat template may also stay at the end of a reply.
_FINAL_CHANNEL = re.compile(r"\A.*<\|channel\|>\s*final\b[^<]*<\|message\|>", re.DOTALL)
_CHAT_MARKER = r"<\|[a-z_]{2,20}\|>"
_TEMPLATE_END = re.compile(rf"(?:\s*(?:{_CHAT_MARKER}|</s>))+\s*\Z")
_THINKS_ALOUD = re.compile(
    r"\A\W*(?:(?:okay|ok|alright|hmm|right|well),? (?:so,? )?"
    r"(?:i (?:need|have|should|will|am)|let me|let['’]s|the user (?:wants|asks))"
    r"|let me (?:think|analy[sz]e|start|begin|look)|(?:thinking|thought) process\b"
    r"|we need to (?:write|produce|create))",
    re.IGNORECASE,
)


def cut_thoughts(raw: str) -> tuple[str, str | None]:
    """Return a reply without what a reasoning model thought before it, and a problem if only thoughts are left."""
    text = _FINAL_CHANNEL.sub("", raw)
    text = _LAST_CLOSED.sub("", _THOUGHTS.sub("", text))
    text = _TEMPLATE_END.sub("", text).strip()
    if _LEFT_OPEN.search(text) or re.search(r"<\|channel\|>", text):
        return text, "ends within the model's thoughts (raise max_output_tokens or turn its reasoning off)"
    if re.search(_CHAT_MARKER, text):
        return text, "contains tokens of the chat template"
    if _THINKS_ALOUD.search(text):
        return text, "the model thinks aloud instead of answering"
    return text, None
