"""Refusals: replies in which a model says that it does not write what was requested."""

import re

_NOT = r"(?:not|unable|cannot|can['’]?t|won['’]?t|don['’]?t|didn['’]?t|haven['’]?t|hasn['’]?t|never)"
_MAKE = (
    r"(?:write|create|generate|provide|produce|describe|complete|fulfil\w*|comply|assist|help|infer|determine|answer"
    r"|summari[sz]e|profile|make|give|offer|share|engage|continue|proceed|do (?:that|this))"
)
_OPENINGS = re.compile(
    r"\A\W*(?:"
    r"(?:my |our )?(?:unfortunately|regrettably|regretfully|apologies|sorry)(?:[,.;]| but\b| for\b| i\b| to say\b)"
    # Russian, Polish, German, Dutch, French, Spanish, Portuguese, Italian, Turkish, Chinese, Japanese, Korean
    r"|к сожалению|извините|простите|мне жаль|увы|нет данных|недостаточно (?:данных|информации)"
    r"|я не (?:могу|смогу|буду|имею)"
    r"|niestety|przepraszam|przykro mi|nie mogę"
    r"|leider|es tut mir leid|tut mir leid|entschuldigung|helaas|het spijt me|sorry, ik"
    r"|ik kan (?:dit |dat |je |u )?niet"
    r"|(?:je suis )?désolée?|malheureusement|je regrette|lo siento|lo lamento|lamentablemente|desafortunadamente"
    r"|desculpe|lamento|infelizmente|sinto muito|mi dispiace|purtroppo|spiacente|üzgünüm|maalesef"
    r"|对不起|抱歉|很抱歉|很遗憾|我无法|我不能|作为一个|申し訳|すみません|恐れ入り|残念ながら|죄송|미안|유감"
    r")",
    re.IGNORECASE,
)
_REFUSALS = re.compile(
    r"\b(?:i['’]?m sorry|i am sorry|i apologi[sz]e|(?:i|we) (?:can['’]?t|cannot|can not|won['’]t|am unable|am not able)"
    r"|i['’]m (?:unable|not able|not comfortable|afraid|not allowed)|i am (?:afraid|not comfortable|not allowed)"
    # a profile is about somebody else, so an "I" that does not do something is the model
    rf"|(?:i|we)(?: am| are| have| do| did| would| must| feel| will|['’](?:m|re|ve|ll|d))? (?:\w+ ){{0,2}}?{_NOT}"
    rf"(?: \w+){{0,4}}? (?:{_MAKE}|able|allowed|permitted|comfortable|going to|willing|been (?:given|provided)"
    r"|receiv\w*|have (?:access|enough|any|the)|been instructed)"
    r"|(?:i|we) (?:must|have to|need to|will|would|shall|['’]ll have to|['’]d)(?: \w+)? ?(?:decline|refuse|abstain"
    r"|pass\b)"
    r"|i['’](?:ll|d) (?:have to |rather |prefer to )?(?:decline|refuse|abstain|pass|not)\b|i['’]ve been instructed not"
    r"|i would (?:rather|prefer) (?:not|to not)|i (?:need|require|would need) (?:more|additional|further|some)"
    r"|(?:i|we) (?:\w+ly )?(?:decline|refuse|regret|choose not)\b"
    r"|i(?:['’]m| am)(?: just| only)? an? (?:\w+ )?(?:ai|language model|llm|assistant|chatbot|virtual)\b"
    rf"|(?:not possible|impossible|unable|not able|inappropriate|unethical|difficult|hard)(?: for me)? to {_MAKE}"
    r"|(?:difficult|hard|impossible) to (?:say|draw|tell|know|conclude)"
    r"|(?:cannot|can['’]?t|can not|could not|couldn['’]t) (?:be )?(?:comply|fulfil|assist|help|provid|generat|creat"
    r"|writ|process|proceed|complet|determin|infer|answer|made|describ|deriv|establish)\w*"
    r"|(?:this|your|the) request|(?:content|usage|safety|my|our) polic(?:y|ies)"
    r"|my (?:guidelines|programming|instructions|training)|terms of (?:service|use)"
    r"|violates? (?:our|my|the|privacy|polic)"
    r"|(?:due|owing) to (?:privacy|policy|safety|ethical|content)|beyond (?:what i|my)"
    r"|as an? (?:\w+ )?(?:ai|llm)\b|as a (?:large )?language model|please (?:provide|share|send|give|supply|upload)"
    r"|(?:could|can|would) you (?:please )?(?:provide|share|send|give|tell|clarify)"
    r"|(?:it )?(?:seems|looks|appears)(?: like| that| as if)? (?:you|no|there (?:is|are|was|were) no|the (?:\w+ )?"
    r"(?:history|list|data) (?:is|was|are|were) (?:missing|empty|not))"
    r"|you (?:have not|haven['’]t|did not|didn['’]t) (?:provide|share|give|include|send)\w*"
    r"|(?:not enough|(?:is|are|was)n['’]t enough|insufficient|too little|no) (?:data|information|history|context"
    r"|details)(?: (?:is|was|are|to|has|have|for (?:this|the|me|a)|about|provided|given|available|here)\b|\W*\Z|\.)"
    r"|no (?:\w+ )?(?:history|profile|data) (?:was|is|can be|could be|has been|provided|given|available)\b"
    r"|(?:history|list|data|record) (?:is|was) (?:empty|missing|not (?:provided|given|available)))",
    re.IGNORECASE,
)
_OTHER_REFUSALS = re.compile(
    r"\bя не (?:могу|смогу|в состоянии)|не могу (?:составить|написать|создать|выполнить|помочь|описать)"
    r"|вынужден\w* отказать|как (?:языковая модель|ии)\b"
    r"|leider (?:kann|muss) ich|ich (?:kann|darf) (?:das |dies |dir |ihnen |diese \w+ )?(?:leider )?nicht"
    r"|je ne (?:peux|puis) pas"
    r"|no puedo (?:ayudar|crear|escribir|proporcionar|generar|describir|cumplir)"
    r"|não (?:posso|consigo) (?:ajudar|criar|escrever|fornecer|gerar)"
    r"|non posso (?:aiutar|crear|scriver|fornir|generar)\w*"
    r"|nie mogę (?:pomóc|napisać|stworzyć)|我(?:无法|不能)|作为(?:一个)?(?:人工智能|AI|语言模型)|できません|할 수 없",
    re.IGNORECASE,
)
_OPENING_CHARS = 160


def is_refusal(text: str) -> bool:
    """Whether a text begins as refusals do."""
    # only at the beginning do these words mean a refusal; later they may describe the user
    opening = text[:_OPENING_CHARS]
    return bool(_OPENINGS.search(opening) or _REFUSALS.search(opening) or _OTHER_REFUSALS.search(opening))
