"""The words by which a sentence denies, offers, mentions, corrects or takes back a value: a group of phrases each.

In a phrase a space stands for any white space; the rest is a regular expression. Case does not matter.
"""

import re


def _any(*phrases: str) -> str:
    """Return the pattern of whichever phrase fits first."""
    return "(?:" + "|".join(phrases).replace(" ", r"\s+") + ")"


def _words(*phrases: str) -> str:
    """Return the pattern of whichever phrase fits first as whole words."""
    return rf"\b{_any(*phrases)}\b"


def _cue(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_IS = _any("is", "are", "was", "were", "be", "seems?", "looks?", "remains?", "proves?", "being", "as")
_ADVERB = r"(?:\w+ly\s+|also\s+|plainly\s+)?"
_ANSWER = _any("answer", "solution", "option", "choice")
_RIGHT = _any(
    "right|correct|true|valid|possible",
    rf"(?:the|my|our) (?:correct\s+|right\s+|final\s+|best\s+)?{_ANSWER}",
    "the (?:correct|right) (?:one|result|value)",
)
_WRONG = _any(
    "wrong|incorrect|false|untrue|invalid|impossible|mistaken|erroneous",
    "unlikely|implausible|improbable|doubtful|questionable|absurd",
    "a mistake|an? error|out",
)

DENIES = _cue(
    _words(
        "not|cannot|never|nor|hardly|scarcely|nobody|nothing",
        r"neither(?=\b.*\bnor\b|\s+of\b)",
        "no longer|no way|no one",
    ),
    r"^\W*neither\b",
    r"n['’]t\b",
    rf"\b{_IS}\s+{_ADVERB}{_WRONG}\b",
    _words(
        r"rul(?:e|es|ed|ing)\s+(?:\S+\s+){0,4}?out",
        r"(?:eliminat|exclud|disqualif|disprov|discount)\w+|(?:discard|reject|dismiss)\w*",
        r"cross(?:ed|es|ing)?\s+(?:\S+\s+){0,3}?(?:out|off)",
        r"strik(?:e|es|ing)\s+(?:\S+\s+){0,3}?(?:out|off)",
        "struck (?:out|off)|throw out|set aside",
    ),
    _words(
        "(?:any|every|some)thing (?:but|except|other than|besides)",
        "(?:anything|everything|all|any|none) (?:but|except|save)",
    ),
    _words(
        r"other than|apart from|except(?:ing|\s+for)?|far from|nowhere near",
        r"different from|differs? from|distinct from|unlike|unequal to|inconsistent with|contradict\w*",
        "instead of|rather than|opposed to|out of the question|fails?|doubt(?!less)|avoid",
        "(?:wrong|incorrect|false|mistaken) (?:answer|option|choice|result|value|one)",
    ),
    r"≠|\\neq?\b",
    "不是|不能|不可能|不为|不选|不对|并非|排除|错误|不正确|不等于",
)

REJECTS = _cue(
    r"(?:\b(?:is|was|be|seems)|\b['’]s)\s+(?:\w+ly\s+)?(?:wrong|incorrect|mistaken|a\s+mistake|an?\s+error)\b",
    r"(?:\bnot|n['’]t)\s+(?:be\s+)?(?:right|correct|(?:the|my|our)\s+(?:\w+\s+)?(?:answer|solution|choice))\b",
    _words("take (?:that|this|it) back"),
)

# What sounds like a denial and is none.
HARMLESS = _cue(
    _words("not only|no doubt|not surprisingly", r"without\s+(?:a\s+)?doubt", "if (?:I am|I['’]m) not mistaken")
)

OFFERS = _cue(
    _words(
        "or|either|maybe|perhaps|possibly|conceivably|might|could|may|possible|plausible|equally|also|as well",
        "alternatively|otherwise|else|unless",
        "second choice|another (?:option|answer|possibility)|close second",
    ),
    "或|也可能|可能",
)

_I_NOW = r"(?:I|we)\s+(?:now\s+|next\s+|first\s+|then\s+)?"
_I_FIRST = r"(?:first|at\s+first|initially)?,?\s*(?:I|we)\s+(?:first\s+|initially\s+|had\s+|originally\s+)?"
MENTIONS = _cue(
    r"^\W*(?:(?:now|next|so|then|first|ok(?:ay)?|well|here|and)\W+)*"
    + _any(
        r"let(?:['’]s|\s+us|\s+me)?\s+(?:now\s+|first\s+|next\s+)?"
        r"(?!(?:choose|select|pick|go|say|answer|conclude)\b)",
        r"(?:consider|check|try|test)(?:ing)?\b|look(?:ing)? at|(?:suppos|assum|examin|evaluat|compar)\w+",
        "what (?:about|if)|how about",
        rf"{_I_NOW}(?:look|check|consider|try|test|examine|turn|come)\b",
        r"(?:one|you|some\w*|people|many|anyone) (?:could|might|may|would)\s+(?:be\s+tempted\s+to\s+)?"
        r"(?:think|say|guess|choose|believe|argue|suppose|pick|answer)\b",
        rf"{_I_FIRST}(?:thought|considered|guessed|believed|assumed|tried|looked|suspected|said)",
        r"(?:I\s+am|I['’]m|we\s+are|it\s+is|it['’]s)\s+(?:\w+\s+)?"
        r"(?:torn|unsure|undecided|hesitat\w+|not sure|unclear|between|a (?:toss|tie|choice))",
    ),
    _words(r"torn|undecided|hesitat\w+|toss-up|can(?:not|['’]t) decide|wavering"),
    r"\b(?:would|could|might)\s+(?:have\s+been|be|equal|give)\b[^,;]*\b(?:if|unless|had|were|provided)\b",
    _words("unless|depends?|depending"),
    r"[?？]\W*$",
    r"^\W*(?:had|were)\s+\w+\s+",
)

_THIS = "(?:which|that|this|it)"
TAKES_BACK = _cue(
    rf"\b{_THIS}\s*(?:is|was|seems|looks|would\s+be|must\s+be|['’]s)\s+(?:\w+ly\s+|also\s+)?{_WRONG}\b",
    rf"\b{_THIS}\s*(?:is|was|does|can|ca|could|would)?\s*(?:not|n['’]t)\s+(?:be\s+|seem\s+|look\s+|a\s+)?{_RIGHT}",
    _words("I (?:was|am) (?:wrong|mistaken)", "take (?:that|this|it) back", "scratch that"),
)

_NO = r"no(?=\W*[,.!:;—-]|\s+(?:wait|actually|sorry|it|that|the\s+answer|make)|$)"
CORRECTS = _cue(
    r"(?:\.{2,}|…|[—;:,(.!?]|\s-{1,2}\s|^|\n)\s*(?:(?:oh|ah|hm+|er+|uh+|well|but|and|then)\b[\s,.!]*)*"
    + _any(
        _NO,
        r"nope|wait|sorry|actually|oops|correction|errat(?:um|a)|edit(?:ed)?\s*:|apologies|hold on",
        "scratch that|strike that|make (?:that|it)|my (?:mistake|bad|error)|I (?:mean|meant)",
        r"on (?:second thoughts?|reflection|closer \w+)|(?:or\s+)?rather\b(?!\s+than)",
        r"I (?:made an?\s+(?:\w+\s+)?(?:error|mistake|slip)|mis\w+|was wrong|take (?:that|it) back|stand corrected"
        "|(?:must|should|need to) correct)",
        r"let me (?:correct|fix|revise|change|rephrase)\b[^.,:;]{0,20}",
        "更正|不对|抱歉|应该是",
        r"(?:it|that|this|the\s+(?:correct\s+|right\s+)?answer) (?:should|must|ought to) (?:be|read|have been)",
    )
    + r"(?![A-Za-z])[\s,.:!—-]*"
)

_BECAUSE = _words("because|since|given that|seeing that|due to|owing to|thanks to")
REASON = _cue(rf"\s*[,(]?\s*{_BECAUSE}", r",?\s*(?:因为|由于)")
REASON_FIRST = _cue(r"^\W*(?:since|because|as)\s[^,]{1,300},\s*(?=\S)")
SO = _cue(_words("so|therefore|thus|hence"))
OPEN = _cue(_words("unless", r"depend(?:s|ing)?\s+(?:up)?on"))
CLAIMS = _cue(
    r"\b(?:is|are|was|(?:must|should|would|has\s+to|ought\s+to)\s+be)\s+"
    rf"(?:indeed\s+|actually\s+|definitely\s+|therefore\s+)?{_RIGHT}\b",
    _words("(?:should|must|has to|ought to) be", "answer"),
)
STRUCK = re.compile(r"~~.*?~~|\\(?:cancel|sout|xcancel|bcancel)\s*\{[^{}]*\}", re.DOTALL)
CONDITION = _cue(_words("if|when|whenever|in case|assuming|provided"), "如果|若")
OTHERWISE = re.compile(
    _words("otherwise|else|if not|in (?:the|any) other case", r"if\b.*\bif", r"when\b.*\bwhen") + "|否则",
    re.IGNORECASE | re.DOTALL,
)

_OPTION = r"(?:option\s+|choice\s+)?\(?[A-J]\)?"
_SUBJECT = rf"(?:it|that|this|which|the\s+\w+(?:\s+\w+)?|{_OPTION}|-?\$?\d[\d.,/]*\$?|I|we|you)"
_VERB = r"(?:is|are|was|were|would|could|might|may|can|cannot|seems?|looks?|has|must|should|isn|aren|can|won|['’]s)\b"
_BUT = "".join(rf"(?<!\b{before}\s)" for before in ("anything", "everything", "nothing", "any", "all", "none")) + "but"
# Between two clauses.
BOUNDARY = _cue(
    r"\s*;\s*|\s*[—–]\s*|\s+-{1,2}\s+(?=[A-Za-z(])",
    r"(?<=[a-z\d)])\.\s+(?=\S)|(?<=[)*}$])\.\s+(?=[A-Z(])",
    rf"\s*,?\s*\b(?:{_BUT}|however|though|although|while|whereas|yet|nevertheless|so|therefore|thus|hence|leaving)\b"
    r"\s*,?\s*",
    r"\s*(?:,|(?<=[\dA-J)])(?=\s)|\band\b)\s*(?=(?:and\s+|or\s+)?"
    + _any("not|never|nor|instead of|rather than|as opposed to|unlike|except|other than")
    + r"\b)",
    r"\s*,?\s+(?=(?:and\s+|or\s+)?(?:otherwise|else)\b)",
    r"\s*,?\s*\(?\s*(?=(?:or\s+)?(?:maybe|perhaps|possibly|alternatively|else|conceivably|if\s+not)\b)",
    rf"\s*,\s*(?:and\s+)?(?=which\b|either\b|{_SUBJECT}\s*{_VERB})",
    rf"\s+and\s+(?={_SUBJECT}\s+(?:is|are|was|were|would|could|might|may|cannot|can)\s)",
    r"\s*\((?=(?:and\s+|but\s+)?(?:not|or)\b)",
    r"[，,；;。]\s*(?=不|而|但|应|所以|也)",
)
