"""Does a question ask for one answer that can be checked? In: a question, and the number of parts of its answer.

Out: the words that make it a request for a proof, for a drawing, an open question, or several questions; else None.
For English and Chinese. What decides is what is asked for, not a word anywhere: the text is cut into sentences, those
that ask for something are told by their main verb, and the last of them counts ("Draw the line l. How long is it?" asks
for a length). Quoted speech asks nothing. A question with options asks which of them is right, whatever its verb.
How often the rules are right on published rows: docs/your-data.md, `python -m perf.curation_rules`.
"""

import re
from dataclasses import dataclass

from mmprm.grading.choice import inline_options
from mmprm.grading.clean import narrow

_QUOTED = re.compile(r'"[^"\n]{1,600}"|“[^”\n]{1,600}”|「[^」\n]{1,600}」')
_SENTENCE = re.compile(r"(?<=[.;!?。；！？])['’”)\]]*\s+|(?<=[。；！？?])(?=[^\s'’”)\]])|\n+|(?<=\.)(?=\()")
_LABEL = re.compile(
    r"(?:(?<=^)|(?<=[\s.;:,?!。；，：？！)_$]))"
    r"(?:\(\s*(?P<round>\d|[ivx]{1,4}|[a-h])\s*\)|(?P<ring>[①-⑨])|(?P<dot>\d)\s*[.、](?!\d)|(?P<q>q\d)\s*[:.])\s*",
    re.MULTILINE,
)
# What may stand before the main verb of a request: a label, "please", "now", a clause that says where or how.
_LEAD = (
    r"^\W*(?:(?:as|in|on|given|with|according|based|using|from|for|by|if|under|at)\b[^.;?!]{0,300}?,\s*(?:please\s+|try\s+to\s+)?"
    r"|[^.;?!]{0,300}?\bplease\s+)?(?:(?:please|now|then|and|first|also|next|finally|try\s+to|you\s+are\s+asked\s+to)\s*,?\s+){0,3}"
)
_PROOF = re.compile(
    rf"{_LEAD}(?P<what>(?:prove|verify|justify|deduce|disprove)\b(?!\s*:?\s*_)|show\s+(?:that|why|how)\b"
    r"|(?:write|give)\s+(?:down\s+)?(?:a|the|your)\s+proof\b)|(?P<han>求证|证明(?!书|人|件))"
)
_DRAWING = re.compile(
    rf"{_LEAD}(?P<what>(?:draw|sketch|plot|graph)\s+(?:a|an|the|and|out|all|its|your|on|in|\w+\s+(?:of|that|with))\b"
    r"|construct\s+(?:a|an|the)\b[^.;?]*\bwith\s+(?:a\s+)?(?:compass|ruler|straightedge)"
    r"|complete\s+the\s+(?:diagram|figure|drawing|graph|picture)|(?:shade|colou?r)\s+(?:the|a|in)\b"
    r"|use\s+(?:a\s+)?(?:compass|ruler|straightedge)[^.;?]*\bto\s+(?:draw|construct))"
    r"|(?P<han>画出|作出|画图|作图|补全图|描出|涂(?:色|上|出)|尺规)"
)
_OPEN = re.compile(
    rf"{_LEAD}(?P<what>(?:explain|describe|discuss|design|comment\s+on|give\s+(?:a\s+)?reasons?"
    r"|state\s+your\s+(?:reason|opinion|view)\w*|give\s+(?:an|one|two|three)\s+examples?"
    r"|write\s+(?:an?|one)\s+(?:essay|story|paragraph|word\s+problem|example)"
    r"|make\s+up\s+(?:a|an)|come\s+up\s+with|suggest\b|propose\b|pose\s+(?:a|one)\s+(?:question|problem)))"
    r"|^\W*(?:and\s+)?(?P<why>why\b[^.]*\?|what\s+(?:do\s+you\s+think\s+(?:of|about)\b|is\s+your\s+opinion|information\s+can\s+you"
    r"|suggestions?\b))|(?P<words>\bin\s+your\s+own\s+words\b)"
    r"|(?P<han>说明理由|请说明|请解释|谈谈|你的(?:看法|想法|建议|理由)|设计(?:一个|一种|方案)|为什么|举例|编一道|讨论)"
)
# One of several answers is asked for, whatever the sentence's verb: another path, a condition to be added.
_ONE_OF_SEVERAL = re.compile(
    r"\banswers?\s+(?:may|will|can)\s+vary\b|\b(?:answer|it)\s+is\s+not\s+unique\b|\bonly\s+(?:fill\s+in|write|give)\s+(?:down\s+)?one\b"
    r"|\b(?:add|adding|complete|supplement|supply)\s+(?:just\s+|only\s+)?(?:an?|one|another|the)\s+(?:\w+\s+){0,2}condition\b"
    r"|\bone\s+(?:\w+\s+){0,2}condition\s+(?:needs?\s+to\s+be|must\s+be|should\s+be|to\s+be|can\s+be)\s+(?:added|supplemented)\b"
    r"|\b(?:write|give|find|represent|list|draw|name)\s+(?:down\s+|out\s+)?another\s+(?:path|way|route|method|example|possible)\b"
    r"|添加(?:一个|的)条件|只填一个|写出一个即可|任写一个|答案不唯一"
)
_VALUE = re.compile(
    rf"{_LEAD}(?:find|calculate|compute|determine|solve|evaluate|simplify|write|estimate|predict|give|express|state|list|"
    r"choose|select|identify|name|count|fill|answer|indicate|round|convert|complete|use|what|how|which|who|when|where)\b"
    r"|[?？]\W*$|_{2,}|\\underline|\\_|\(\s{1,}\)|（\s*）|\b(?:is|are|be|equals?|=)\s*[.:$]*\s*$"
    r"|求(?!证)|计算|写出|多少|几|什么|哪|等于"
)
_BLANK = re.compile(r"_{2,}|\\underline")
_ASKS = re.compile(
    r"\?|？|_{2,}|\\underline|^\s*(?:please\s+|try\s+to\s+)?(?:find|calculate|compute|determine|solve|evaluate|simplify|"
    r"write|estimate|predict|prove|show|explain|draw|state|give|express|what|how|which|who|when|where)\b"
    r"|求|计算|写出|多少|几|什么|哪|证明"
)
# A question about the answer itself, after the one that it repeats.
_REPEATS = re.compile(r"^\W*(?:what|which)\b[^?]{0,20}\b(?:answer|option|choice|statement|one)s?\b[^?]{0,30}$")
_TOKEN = re.compile(r"[a-z]+|\d+|_{2,}|[\u3400-\u9fff]")
_MARK = re.compile(r"[?？]")


@dataclass(frozen=True)
class QuestionFaults:
    """The words that show that a question has no single answer, for each kind of such questions; None: not of it."""

    proof: str | None = None
    drawing: str | None = None
    open_question: str | None = None
    several_questions: str | None = None


def find_faults(question: str, n_parts: int, has_options: bool = False) -> QuestionFaults:
    """Find what the question asks for; n_parts: the parts of its gold answer, one for each blank."""
    if has_options or inline_options(question):
        return QuestionFaults()
    text = _QUOTED.sub(" quoted ", narrow(question).casefold())
    faults: dict[str, str | None] = {}
    for sentence in reversed(_SENTENCE.split(_LABEL.sub(" ", text))):
        if kind := _kind(sentence):
            name, words = kind
            if name != "value":
                faults[name] = words
            break
    if (match := _ONE_OF_SEVERAL.search(text)) and not faults:
        faults["open_question"] = match[0]
    return QuestionFaults(**faults, several_questions=_several(text, n_parts))


def _kind(sentence: str) -> tuple[str, str] | None:
    """Return what a sentence asks for, and the words that say so: a proof, a drawing, …, or a value; None: nothing."""
    for name, pattern in (("proof", _PROOF), ("drawing", _DRAWING), ("open_question", _OPEN)):
        if match := pattern.search(sentence):
            if _BLANK.search(sentence) and name != "open_question":
                return "value", ""  # "complete the figure, whose area is ___"
            return name, next(filter(None, match.groupdict().values())).strip()
    return ("value", "") if _VALUE.search(sentence) else None


def _several(text: str, n_parts: int) -> str | None:
    """Describe a question that asks for more than the answer gives; blanks with an answer part each count as one."""
    asked = max(_labelled(text), _marks(text))
    if asked < 2 or n_parts >= asked:
        return None
    return f"{asked} questions, and {n_parts} answer{'s' if n_parts != 1 else ''}"


def _labelled(text: str) -> int:
    """Count the parts after labels (1), (2), … that ask something; 0 where the labels do not start with the first."""
    labels = list(_LABEL.finditer(text))
    best = 0
    for kind in ("round", "ring", "dot", "q"):
        of_kind = [label for label in labels if label[kind]]
        ends = [label.start() for label in of_kind[1:]] + [len(text)] * bool(of_kind)
        pieces = [text[label.end() : end] for label, end in zip(of_kind, ends, strict=True)]
        names = [label[kind] for label in of_kind]
        if len(names) >= 2 and len(set(names)) == len(names) and names[0] in ("1", "i", "a", "①", "q1"):
            best = max(best, sum(bool(_ASKS.search(piece)) and len(_TOKEN.findall(piece)) >= 2 for piece in pieces))
    return best


def _marks(text: str) -> int:
    """Count the different questions that end in a question mark."""
    pieces = _MARK.split(text)[:-1]
    asked = {re.split(r"[.。;；]\s", piece)[-1].strip() for piece in pieces}
    asked = {question for question in asked if not _REPEATS.search(question)} or asked
    return len({question for question in asked if len(question) > 7 or re.search(r"[\u3400-\u9fff]{3}", question)})
