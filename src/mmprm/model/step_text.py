"""The step-text contract: prompts, step tags, parsing, and the place of `<prm>`. The only module that knows the tags.

A solution is `<step>…</step>` repeated, then `<answer>…</answer>`, with nothing between the blocks. A partial one is
continued in the assistant's own turn. The PRM reads the same chat with `<prm>` after each `</step>` and the answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mmprm.data.problem import Problem
from mmprm.runtime.errors import UserError

STEP_OPEN, STEP_CLOSE = "<step>", "</step>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
MARKER = "<prm>"
TAGS = (STEP_OPEN, STEP_CLOSE, ANSWER_OPEN, ANSWER_CLOSE, MARKER)
YES, NO = "Yes", "No"
NEEDS_IMAGES = "needs_images"  # why a model that reads text alone is not shown a problem

# Strings that control a model or its processor: our tags, chat and image tokens of the common model families.
_CONTROL = re.compile(
    r"</?(?:step|answer|prm|img|image|video|IMG_CONTEXT|think|vision_start|vision_end|image_pad"
    r"|start_of_image|end_of_image|image_soft_token)>|<\|[^<>|]{1,40}\|>|\[IMG(?:_BREAK|_END)?\]"
)
_BLOCK = re.compile(r"\s*<(step|answer)>(.*?)</\1>\s*", re.DOTALL)


class Status(StrEnum):
    """The result of parsing a sampled text. Only `ok` is graded, searched or ranked; the others count as unparsed."""

    OK = "ok"
    EMPTY = "empty"
    TRUNCATED = "truncated"  # stopped by the length limit
    MALFORMED = "malformed"  # text outside of blocks, an unclosed or empty block, no steps, steps after the answer
    NO_ANSWER = "no_answer"
    CONTROL = "control"  # a control string inside a step or the answer


@dataclass(frozen=True)
class Parsed:
    """A parsed continuation; `steps` and `answer` are empty unless the status is ok."""

    status: Status
    steps: tuple[str, ...] = ()
    answer: str | None = None


def parse(text: str, finish_reason: str = "stop", prefix_steps: int = 0) -> Parsed:  # noqa: PLR0911 - one per status
    """Parse what a policy wrote after `prefix_steps` steps of a solution; white space around the bodies is removed."""
    if not text.strip():
        return Parsed(Status.EMPTY)
    if finish_reason == "length":
        return Parsed(Status.TRUNCATED)
    steps: list[str] = []
    answer: str | None = None
    position = 0
    while position < len(text):
        block = _BLOCK.match(text, position)
        if block is None or answer is not None:
            return Parsed(Status.MALFORMED)
        kind, body = block[1], block[2].strip()
        if _CONTROL.search(body):
            return Parsed(Status.CONTROL)
        if not body:
            return Parsed(Status.MALFORMED)
        if kind == "step":
            steps.append(body)
        else:
            answer = body
        position = block.end()
    if answer is None:
        return Parsed(Status.NO_ANSWER)
    return Parsed(Status.OK, tuple(steps), answer) if prefix_steps + len(steps) else Parsed(Status.MALFORMED)


def parse_block(text: str, finish_reason: str = "stop") -> tuple[str, str] | None:
    """Return ("step" or "answer", body) of a text that is exactly one block; None for any other."""
    block = _BLOCK.fullmatch(text)
    if finish_reason == "length" or block is None or not block[2].strip() or _CONTROL.search(block[2]):
        return None
    return block[1], block[2].strip()


def render_steps(steps: Sequence[str], marker: str = "") -> str:
    """Write `<step>…</step>` for each step, each followed by `marker`."""
    return "".join(f"{STEP_OPEN}{step}{STEP_CLOSE}{marker}" for step in steps)


def render_solution(steps: Sequence[str], answer: str | None, marker: str = "") -> str:
    """Write the steps and, unless it is None, the answer; `marker` follows each block."""
    ending = "" if answer is None else f"{ANSWER_OPEN}{answer}{ANSWER_CLOSE}{marker}"
    return render_steps(steps, marker) + ending


def neutralise(text: str, extra: Sequence[str] = ()) -> str:
    """Rewrite control strings, and those of `extra`, so that they are read as plain text: `<step>` becomes `‹step›`."""
    previous = None
    while text != previous:  # rewriting a control string inside another one may leave a new one
        previous = text
        text = _CONTROL.sub(lambda match: f"‹{match[0][1:-1]}›", text)
        for token in extra:
            inner = token.strip("<>[]")
            if len(token) > 1 and token in text:
                # A token without brackets ("EOS") is split after its first character.
                text = text.replace(token, f"‹{inner}›" if inner != token else f"‹{token[0]}›{token[1:]}")
    return text


def has_control(text: str) -> bool:
    """Return whether the text contains a string that `neutralise` would rewrite."""
    return _CONTROL.search(text) is not None


def question_text(problem: Problem, instruction: str = "", extra_control: Sequence[str] = ()) -> str:
    """Write the user's turn: the question, the choices as lines `(A) …`, then the instruction."""
    lines = [neutralise(problem.question, extra_control)]
    for index, choice in enumerate(problem.choices):
        lines.append(f"({chr(ord('A') + index)}) {neutralise(choice, extra_control)}")
    return "\n".join([*lines, instruction] if instruction else lines)


class Renderer:
    """Writes every text that a model is shown, with one placeholder per image for the `processor` or vLLM to expand."""

    def __init__(self, processor: Any, instruction: str = "") -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.instruction = instruction
        # Special tokens, and any others added in brackets; not the words or white space that some models add.
        added = [token for token in self.tokenizer.added_tokens_decoder.values() if token.content not in (YES, NO)]
        control = {token.content for token in added if token.special or token.content[:1] in ("<", "[")}
        self.control = tuple(sorted(control - set(TAGS), key=lambda token: (-len(token), token)))

    def reads(self, problem: Problem) -> bool:
        """Return whether the model can be shown the problem: one that reads text alone is shown none with images."""
        return not problem.images or getattr(self.processor, "reads_images", True)

    def prompt(self, problem: Problem) -> str:
        """Write the chat up to the point where the assistant starts to write."""
        if not self.reads(problem):
            raise UserError(
                f"problem {problem.problem_id!r} has an image, and the model reads text alone: take sources without "
                "images, or a vision-language model as policy.base"
            )
        content: list[dict[str, str]] = [{"type": "image"} for _ in problem.images]
        content.append({"type": "text", "text": question_text(problem, self.instruction, self.control)})
        chat = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))

    def continuation(self, problem: Problem, prefix: Sequence[str]) -> str:
        """Write the prompt and the steps so far, for the policy to continue (in its own turn)."""
        return self.prompt(problem) + render_steps(prefix)

    def supervised(self, problem: Problem, steps: Sequence[str], answer: str) -> tuple[str, str]:
        """Write (prompt, completion) for fine-tuning; the completion ends with the end-of-turn token."""
        return self.prompt(problem), render_solution(steps, answer) + self.tokenizer.eos_token

    def marked(self, problem: Problem, steps: Sequence[str], answer: str | None) -> str:
        """Write what the PRM reads: the chat with `<prm>` after each step and the answer, ending at the last marker."""
        return self.prompt(problem) + render_solution(steps, answer, MARKER)


def control_ids(tokenizer: Any) -> dict[str, int]:
    """Return the ids of the tags, Yes and No; raise UserError unless each is one token and all differ (defect 7)."""
    ids = {token: token_id(tokenizer, token) for token in (*TAGS, YES, NO)}
    if len(set(ids.values())) != len(ids):
        raise UserError(f"the tokenizer {tokenizer.name_or_path!r} gives two of {list(ids)} the same id: {ids}")
    return ids


def token_id(tokenizer: Any, token: str) -> int:
    """Return the id that a text of its own is encoded as; raise UserError unless it is a single known token.

    The only derivation: `convert_tokens_to_ids` looks a vocabulary's own name up, which a SentencePiece tokenizer's
    "Yes" is another piece of.
    """
    encoded = tokenizer.encode(token, add_special_tokens=False)
    if len(encoded) != 1 or encoded[0] == tokenizer.unk_token_id:
        raise UserError(
            f"the tokenizer {tokenizer.name_or_path!r} encodes {token!r} as {len(encoded)} tokens, not as one: "
            "use a policy folder made by the policy stage (it adds the tags), or add the token"
        )
    return int(encoded[0])
