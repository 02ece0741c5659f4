"""What is said in a cue, apart from how it is shown: markup at the ends is kept, markup in the middle is not.

A translation has other words in another order, so a tag inside a sentence has no place to return to. Tags around a
whole cue, or around a whole line of it, do.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from octavia_stream.captions.cues import COLUMNS, break_lines

Kind = Literal["text", "open", "close", "other", "break"]

_TURN = re.compile(r"[-‐–—](?!\d)[ \u00a0]?")
_NOTE_BEFORE = re.compile(r"[♪♫]+\s*")
_NOTE_AFTER = re.compile(r"\s*[♪♫]+$")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a cue's text as the file writes it."""

    kind: Kind
    raw: str
    name: str = ""
    """What a tag and the one that closes it have in common."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one format writes what is in a cue."""

    tokens: Callable[[str], Iterator[Token]]
    decode: Callable[[str], str]
    """Written text → plain text."""
    encode: Callable[[str], str]
    line_break: str
    wraps: bool = False
    """Players break long lines by themselves, so a cue of one line stays one."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a cue: one speaker, one style. Sentences may go on from one to the next."""

    before: str
    """What stands before the words, as the file writes it."""
    text: str
    """Plain words on one line."""
    after: str
    lines: int = 1
    """How many lines it is shown in."""
    turn: bool = False
    """A dash says that another person speaks: nothing goes on from the passage before."""
    style: str = ""
    """The tags around the words; a sentence goes on only where they are the same."""


def read_passages(payload: str, dialect: Dialect) -> tuple[Passage, ...]:
    """The passages of a cue; none when there are no words in it."""
    tokens = list(dialect.tokens(payload))
    voices = sum(_is_voice(token) for token in tokens)
    before, inside, after = _peel(tokens) if voices < 2 else ("", tokens, "")
    lines = [line for line in _lines(inside) if _has_words(line, dialect)]
    if not lines:
        return ()
    if len(lines) > 1 and _apart(lines, dialect):
        passages = [_passage(line, dialect) for line in lines]
    else:
        passages = [replace(_passage(inside, dialect), lines=len(lines))]
    passages = [replace(passage, style=before + passage.style) for passage in passages]
    passages[0] = replace(passages[0], before=before + passages[0].before)
    passages[-1] = replace(passages[-1], after=passages[-1].after + after)
    return tuple(passages)


def write_passages(passages: Sequence[Passage], texts: Sequence[str], dialect: Dialect) -> str:
    """A cue with other words in the same passages."""
    written = [
        passage.before + _laid_out(passage, " ".join(text.split()), dialect) + passage.after
        for passage, text in zip(passages, texts, strict=True)
    ]
    return dialect.line_break.join(written)


def _laid_out(passage: Passage, text: str, dialect: Dialect) -> str:
    room = max(COLUMNS, len(passage.text))
    one_line = passage.lines == 1 and (dialect.wraps or len(text) <= room)
    lines = [text] if one_line else break_lines(text).split("\n")
    return dialect.line_break.join(dialect.encode(line) for line in lines)


def _passage(tokens: list[Token], dialect: Dialect) -> Passage:
    style, inside, after = _peel(tokens)
    before = style
    text = " ".join(dialect.decode(_plain(inside)).split())
    turn = False
    if found := _TURN.match(text):
        turn = len(found[0]) < len(text)
        before, text = (before + dialect.encode(found[0]), text[found.end() :]) if turn else (before, text)
    if (found := _NOTE_BEFORE.match(text)) and len(found[0]) < len(text):
        before, text = before + found[0], text[found.end() :]
        if closing := _NOTE_AFTER.search(text[-8:]):
            after, text = closing[0] + after, text[: len(text) - len(closing[0])]
    return Passage(before, text.strip(), after, turn=turn, style=style)


def _plain(tokens: Sequence[Token]) -> str:
    return "".join(token.raw if token.kind == "text" else " " if token.kind == "break" else "" for token in tokens)


def _has_words(tokens: Sequence[Token], dialect: Dialect) -> bool:
    return bool(dialect.decode(_plain(tokens)).strip())


def _peel(tokens: list[Token]) -> tuple[str, list[Token], str]:
    """Split off the tags at both ends, as far as what they open is not closed in the middle."""
    first = next((i for i, token in enumerate(tokens) if token.kind == "text" and token.raw.strip()), None)
    if first is None:
        return "", [], ""
    last = max(i for i, token in enumerate(tokens) if token.kind == "text" and token.raw.strip())
    partner = _partners(tokens)
    before = [i for i in range(first) if _kept_before(tokens[i], partner.get(i), last)]
    after = [i for i in range(last + 1, len(tokens)) if _kept_after(tokens[i], partner.get(i), first)]
    kept = {*before, *after}
    inside = [token for i, token in enumerate(tokens) if i not in kept]
    return "".join(tokens[i].raw for i in before), inside, "".join(tokens[i].raw for i in after)


def _kept_before(token: Token, partner: int | None, last: int) -> bool:
    return token.kind == "other" or (token.kind == "open" and (partner is None or partner > last))


def _kept_after(token: Token, partner: int | None, first: int) -> bool:
    return token.kind == "other" or (token.kind == "close" and partner is not None and partner < first)


def _partners(tokens: Sequence[Token]) -> dict[int, int]:
    """Index of each tag that is opened and closed → index of the other one."""
    partners: dict[int, int] = {}
    open_tags: dict[str, list[int]] = {}
    for i, token in enumerate(tokens):
        if token.kind == "open":
            open_tags.setdefault(token.name, []).append(i)
        elif token.kind == "close" and open_tags.get(token.name):
            opening = open_tags[token.name].pop()
            partners[opening], partners[i] = i, opening
    return partners


def _lines(tokens: Sequence[Token]) -> list[list[Token]]:
    lines: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "break":
            lines.append([])
        else:
            lines[-1].append(token)
    return lines


def _apart(lines: Sequence[list[Token]], dialect: Dialect) -> bool:
    """Whether lines are passages of their own: each speaks for another person, or one is wrapped by its own tags."""
    if any(_unbalanced(line) for line in lines):
        return False
    speakers = [_passage(line, dialect).turn or _is_voice(line[0]) for line in lines]
    return all(speakers) or any(_wrapped(line) for line in lines)


def _is_voice(token: Token) -> bool:
    """WebVTT's voice tag; it lasts to the end of the cue when nothing closes it."""
    return token.kind == "open" and token.name == "v"


def _unbalanced(line: Sequence[Token]) -> bool:
    tags = sum(token.kind in {"open", "close"} and token.name != "v" for token in line)
    return tags != len([i for i in _partners(line) if line[i].name != "v"])


def _wrapped(line: list[Token]) -> bool:
    _, _, after = _peel(line)
    return bool(after)
