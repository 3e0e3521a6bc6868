"""What a sentence asserts of the values that it names: says, denies, offers as an alternative, or merely mentions.

In: a sentence and a function that reads a value from a piece of text. Out: a `Reading`. Only a value that is said, not
taken back in the same sentence, and offered without another one beside it is the answer: "B, not A" says B; "not (B)",
"we can rule out B" and "(B) is wrong" deny it; "B or possibly C" and "if …, (A); otherwise (B)" leave it open.
"""

import re
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value")

_RIGHT = (
    r"(?:right|correct|true|valid|possible|(?:the|my|our)\s+(?:correct\s+|right\s+|final\s+|best\s+)?"
    r"(?:answer|solution|option|choice)|the\s+(?:correct|right)\s+(?:one|result|value))"
)
_WRONG = (
    r"(?:wrong|incorrect|false|untrue|invalid|impossible|mistaken|erroneous|unlikely|implausible|improbable|doubtful"
    r"|questionable|absurd|a\s+mistake|an?\s+error|out)"
)
_DENIES = re.compile(
    rf"""\b(?:not|cannot|never|neither(?=\b.*\bnor\b|\s+of\b)|nor|hardly|scarcely|no\s+longer|no\s+way|nobody|no\s+one|nothing)\b|^\W*neither\b|n['’]t\b
        |\b(?:is|are|was|were|be|seems?|looks?|remains?|proves?|being|as)\s+(?:\w+ly\s+|also\s+|plainly\s+)?{_WRONG}\b
        |\b(?:rul(?:e|es|ed|ing)\s+(?:\S+\s+){{0,4}}?out|eliminat\w+|exclud\w+|discard\w*|reject\w*|dismiss\w*|disqualif\w+|disprov\w+|discount\w*
            |cross(?:ed|es|ing)?\s+(?:\S+\s+){{0,3}}?(?:out|off)|strik(?:e|es|ing)\s+(?:\S+\s+){{0,3}}?(?:out|off)|struck\s+(?:out|off)|throw\s+out|set\s+aside)\b
        |\b(?:any|every|some)thing\s+(?:but|except|other\s+than|besides)\b|\b(?:anything|everything|all|any|none)\s+(?:but|except|save)\b
        |\b(?:other\s+than|apart\s+from|except(?:ing|\s+for)?|far\s+from|nowhere\s+near|different\s+from|differs?\s+from|unlike|unequal\s+to
            |instead\s+of|rather\s+than|opposed\s+to|distinct\s+from|contradict\w*|out\s+of\s+the\s+question|inconsistent\s+with|fails?|doubt(?!less))\b
        |\b(?:wrong|incorrect|false|mistaken)\s+(?:answer|option|choice|result|value|one)\b|\bavoid\b
        |≠|\\neq?\b|不是|不能|不可能|不为|不选|不对|并非|排除|错误|不正确|不等于""",
    re.IGNORECASE | re.VERBOSE,
)
_REJECTS = re.compile(
    r"\b(?:is|was|be|seems|['’]s)\s+(?:\w+ly\s+)?(?:wrong|incorrect|mistaken|a\s+mistake|an?\s+error)\b"
    r"|(?:\bnot|n['’]t)\s+(?:be\s+)?(?:right|correct|(?:the|my|our)\s+(?:\w+\s+)?(?:answer|solution|choice))\b|\btake\s+(?:that|this|it)\s+back\b",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"\b(?:not\s+only|no\s+doubt|not\s+surprisingly|without\s+(?:a\s+)?doubt|if\s+(?:I\s+am|I['’]m)\s+not\s+mistaken)\b",
    re.I,
)
_OFFERS = re.compile(
    r"""\b(?:or|maybe|perhaps|possibly|might|could|may|either|alternatively|otherwise|else|conceivably|equally|also|as\s+well
        |possible|plausible|unless|second\s+choice|another\s+(?:option|answer|possibility)|close\s+second)\b|或|也可能|可能""",
    re.IGNORECASE | re.VERBOSE,
)
_MENTIONS = re.compile(
    r"""^\W*(?:(?:now|next|so|then|first|ok(?:ay)?|well|here|and)\W+)*
        (?:let(?:['’]s|\s+us|\s+me)?\s+(?:now\s+|first\s+|next\s+)?(?!(?:choose|select|pick|go|say|answer|conclude)\b)
        |consider(?:ing)?\b|look(?:ing)?\s+at|check(?:ing)?\b|try(?:ing)?\b|test(?:ing)?\b|suppos\w+|assum\w+|examin\w+|evaluat\w+|compar\w+|what\s+(?:about|if)|how\s+about
        |(?:I|we)\s+(?:now\s+|next\s+|first\s+|then\s+)?(?:look|check|consider|try|test|examine|turn|come)\b
        |(?:one|you|some\w*|people|many|anyone)\s+(?:could|might|may|would)\s+(?:be\s+tempted\s+to\s+)?(?:think|say|guess|choose|believe|argue|suppose|pick|answer)\b
        |(?:first|at\s+first|initially)?,?\s*(?:I|we)\s+(?:first\s+|initially\s+|had\s+|originally\s+)?(?:thought|considered|guessed|believed|assumed|tried|looked|suspected|said)
        |(?:I\s+am|I['’]m|we\s+are|it\s+is|it['’]s)\s+(?:\w+\s+)?(?:torn|unsure|undecided|hesitat\w+|not\s+sure|unclear|between|a\s+(?:toss|tie|choice)))
        |\b(?:torn|undecided|hesitat\w+|toss-up|can(?:not|['’]t)\s+decide|wavering)\b
        |\b(?:would|could|might)\s+(?:have\s+been|be|equal|give)\b[^,;]*\b(?:if|unless|had|were|provided)\b
        |\b(?:unless|depends?|depending)\b|[?？]\W*$
        |^\W*(?:had|were)\s+\w+\s+""",
    re.IGNORECASE | re.VERBOSE,
)
_TAKES_BACK = re.compile(
    rf"""\b(?:which|that|this|it)\s*(?:(?:is|was|seems|looks|would\s+be|must\s+be|['’]s)\s+(?:\w+ly\s+|also\s+)?{_WRONG}\b
        |(?:is|was|does|can|ca|could|would)?\s*(?:not|n['’]t)\s+(?:be\s+|seem\s+|look\s+|a\s+)?{_RIGHT})|\bI\s+(?:was|am)\s+(?:wrong|mistaken)\b
        |\btake\s+(?:that|this|it)\s+back\b|\bscratch\s+that\b""",
    re.IGNORECASE | re.VERBOSE,
)
_CORRECTS = re.compile(
    r"""(?:\.{2,}|…|[—;:,(.!?]|\s-{1,2}\s|^|\n)\s*
        (?:(?:oh|ah|hm+|er+|uh+|well|but|and|then)\b[\s,.!]*)*
        (?:no(?=\W*[,.!:;—-]|\s+(?:wait|actually|sorry|it|that|the\s+answer|make)|$)|nope|wait|sorry|actually|oops|correction|errat(?:um|a)|edit(?:ed)?\s*:|scratch\s+that|make\s+(?:that|it)
          |on\s+(?:second\s+thoughts?|reflection|closer\s+\w+)|(?:or\s+)?rather\b(?!\s+than)|I\s+(?:mean|meant)|my\s+(?:mistake|bad|error)|apologies|hold\s+on|strike\s+that
          |I\s+(?:made\s+an?\s+(?:\w+\s+)?(?:error|mistake|slip)|mis\w+|was\s+wrong|take\s+(?:that|it)\s+back|stand\s+corrected|(?:must|should|need\s+to)\s+correct)
          |let\s+me\s+(?:correct|fix|revise|change|rephrase)\b[^.,:;]{0,20}|更正|不对|抱歉|应该是|(?:it|that|this|the\s+(?:correct\s+|right\s+)?answer)\s+(?:should|must|ought\s+to)\s+(?:be|read|have\s+been))(?![A-Za-z])[\s,.:!—-]*""",
    re.IGNORECASE | re.VERBOSE,
)
_REASON = re.compile(
    r"\s*[,(]?\s*\b(?:because|since|given\s+that|seeing\s+that|due\s+to|owing\s+to|thanks\s+to)\b|,?\s*(?:因为|由于)",
    re.I,
)
_REASON_FIRST = re.compile(r"^\W*(?:since|because|as)\s[^,]{1,300},\s*(?=\S)", re.IGNORECASE)
_SO = re.compile(r"\b(?:so|therefore|thus|hence)\b", re.IGNORECASE)
_OPEN = re.compile(r"\bunless\b|\bdepend(?:s|ing)?\s+(?:up)?on\b", re.IGNORECASE)
_SUBJECT = (
    r"(?:it|that|this|which|the\s+\w+(?:\s+\w+)?|(?:option\s+|choice\s+)?\(?[A-J]\)?|-?\$?\d[\d.,/]*\$?|I|we|you)"
)
_BOUNDARY = re.compile(
    rf"""\s*;\s*|\s*[—–]\s*|\s+-{{1,2}}\s+(?=[A-Za-z(])|(?<=[a-z\d)])\.\s+(?=\S)|(?<=[)*}}$])\.\s+(?=[A-Z(])
        |\s*,?\s*\b(?:(?<!\banything\s)(?<!\beverything\s)(?<!\bnothing\s)(?<!\bany\s)(?<!\ball\s)(?<!\bnone\s)but|however|though|although|while|whereas|yet|nevertheless|so|therefore|thus|hence|leaving)\b\s*,?\s*
        |\s*(?:,|(?<=[\dA-J)])(?=\s)|\band\b)\s*(?=(?:and\s+|or\s+)?(?:not|never|nor|instead\s+of|rather\s+than|as\s+opposed\s+to|unlike|except|other\s+than)\b)
        |\s*,?\s+(?=(?:and\s+|or\s+)?(?:otherwise|else)\b)
        |\s*,?\s*\(?\s*(?=(?:or\s+)?(?:maybe|perhaps|possibly|alternatively|else|conceivably|if\s+not)\b)
        |\s*,\s*(?:and\s+)?(?=which\b|either\b|{_SUBJECT}\s*(?:is|are|was|were|would|could|might|may|can|cannot|seems?|looks?|has|must|should|isn|aren|can|won|['’]s)\b)
        |\s+and\s+(?={_SUBJECT}\s+(?:is|are|was|were|would|could|might|may|cannot|can)\s)
        |\s*\((?=(?:and\s+|but\s+)?(?:not|or)\b)|[,，;；。]\s*(?=不|而|但|应|所以|也)""",
    re.IGNORECASE | re.VERBOSE,
)
_CLAIMS = re.compile(
    rf"\b(?:is|are|was|must\s+be|should\s+be|has\s+to\s+be|would\s+be|ought\s+to\s+be)\s+(?:indeed\s+|actually\s+|definitely\s+|therefore\s+)?{_RIGHT}\b|\b(?:should|must|has\s+to|ought\s+to)\s+be\b|\banswer\b",
    re.IGNORECASE,
)
_STRUCK = re.compile(r"~~.*?~~|\\(?:cancel|sout|xcancel|bcancel)\s*\{[^{}]*\}", re.DOTALL)
_CONDITION = re.compile(r"\b(?:if|when|whenever|in\s+case|assuming|provided)\b|如果|若", re.IGNORECASE)
_OTHERWISE = re.compile(
    r"\b(?:otherwise|else|if\s+not|in\s+(?:the|any)\s+other\s+case|if\b.*\bif|when\b.*\bwhen)\b|否则", re.I | re.DOTALL
)


class Reading(NamedTuple, Generic[Value]):
    """value: what the sentence says; None if it says nothing, or several values (`several`). denied: what is denied.

    taken_back: it says that what came before is wrong.
    """

    value: Value | None
    denied: frozenset[Value]
    several: bool = False
    taken_back: bool = False


def plain_claim(text: str) -> bool:
    """Tell whether the text has no word that denies, offers, corrects or mentions: most have none, and need no care."""
    bare = _HARMLESS.sub(" ", text)
    cues = _DENIES, _MENTIONS, _TAKES_BACK, _CORRECTS, _OTHERWISE, _OFFERS
    return not any(cue.search(bare) for cue in cues) and "~~" not in text and "cancel" not in text


def denies(text: str) -> bool:
    """Tell whether the text denies something."""
    return _DENIES.search(_HARMLESS.sub(" ", text)) is not None


def rejects(text: str) -> bool:
    """Tell whether the text says of something that it is wrong or not the answer."""
    return _REJECTS.search(text) is not None


def takes_back(sentence: str) -> bool:
    """Tell whether the sentence says that what came before it is wrong."""
    return _TAKES_BACK.search(sentence) is not None


def correction(sentence: str) -> re.Match[str] | None:
    """Return the words by which the sentence begins to correct what came before, such as "Sorry, "; None for others."""
    return _CORRECTS.match(sentence)


def without_reason(sentence: str) -> str:
    """Return the sentence up to its reason, whose values and negations are not the answer's."""
    sentence = _REASON_FIRST.sub("", sentence)
    head = _REASON.split(sentence, maxsplit=1)[0]
    return head if head.strip(" *$") else sentence


def read(
    sentence: str,
    value_in: Callable[[str], Value | None],
    any_in: Callable[[str], Value | None] | None = None,
    concludes: bool = False,
) -> Reading[Value]:
    """Read what a sentence says; `value_in` returns the value that a piece of text names, None for none.

    any_in: the same for a piece of which it is known that it denies or offers something. concludes: the sentence does
    not begin with the answer, so that what follows "so" counts.
    """
    any_in = any_in or value_in
    if plain_claim(sentence):
        return Reading(value_in(sentence), frozenset())
    text = _HARMLESS.sub(" ", without_reason(_STRUCK.sub(" ", sentence)))
    text = re.sub(r"\bif\s+not\b", "otherwise", text, flags=re.IGNORECASE)
    if cues := list(_CORRECTS.finditer(text)):  # what comes before is taken back, if the correction names a value
        last = text[cues[-1].end() :]
        named = read(last, value_in, any_in, concludes) if last.strip() else Reading[Value](None, frozenset())
        if named.value is not None or named.several:
            return named
    if _OPEN.search(text):
        return Reading(None, frozenset(), several=value_in(text) is not None or any_in(text) is not None)
    return _weigh(text, value_in, any_in, concludes)


def _clauses(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the clauses of a sentence, and for each whether it begins with "so"."""
    start, concludes = 0, False
    for boundary in _BOUNDARY.finditer(text):
        if text[start : boundary.start()].strip():
            yield text[start : boundary.start()], concludes
        start, concludes = boundary.end(), _SO.search(boundary[0]) is not None
    if text[start:].strip():
        yield text[start:], concludes


def _weigh(
    text: str, value_in: Callable[[str], Value | None], any_in: Callable[[str], Value | None], concludes: bool
) -> Reading[Value]:
    """Read the clauses one after the other: the first value that is said, if no other clause speaks against it."""
    says: Value | None = None
    offered: set[Value] = set()
    denied: set[Value] = set()
    taken_back = False
    branches = _CONDITION.search(text) is not None and _OTHERWISE.search(text) is not None
    for clause, so in _clauses(text):
        if _TAKES_BACK.search(clause):
            taken_back, says = True, None
            continue
        says = None if so and concludes else says
        rivals = branches or _OFFERS.search(clause) is not None or _CLAIMS.search(clause) is not None
        if _DENIES.search(clause):
            value, aims = any_in(_DENIES.sub(" ", clause)), denied
        elif (value := value_in(clause)) is not None:
            aims = offered if says is None or (value != says and rivals) else set()
            if says is None and not _MENTIONS.search(clause):
                says, taken_back, aims = value, False, set()
        else:
            value, aims = any_in(_OFFERS.sub(" ", clause)) if rivals else None, offered
        if value is not None:
            aims.add(value)
    if says is not None and (says in denied or offered - {says}):
        return Reading(None, frozenset(denied), several=bool(offered), taken_back=taken_back)
    return Reading(says, frozenset(denied), several=says is None and len(offered) > 1, taken_back=taken_back)
