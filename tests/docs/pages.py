"""The pages that people read, and what of them can be run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),  # that is history
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("models/*/README.md"),
        ROOT / "config" / "demo" / "README.md",
    ]
)
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.M | re.S)
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
# Words that a shell puts around commands.
_SHELL = {"for", "do", "then", "if"}


def blocks(path: Path, language: str = "") -> list[str]:
    """The code blocks of a page in a language; without one those of commands."""
    return [
        "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
        for indent, found, text in _FENCE.findall(path.read_text())
        if found == language
    ]


def spans(path: Path) -> list[str]:
    """The pieces of code inside sentences."""
    text = _FENCE.sub("", path.read_text())
    return [" ".join(span.split()) for span in _SPAN.findall(text)]


@dataclass(frozen=True)
class Command:
    """A command as a page tells it.

    Attributes:
        page: the page, relative to the root.
        words: the command line.
        whole: False for one inside a sentence, which may leave arguments out.
    """

    page: str
    words: tuple[str, ...]
    whole: bool = True

    @property
    def program(self) -> str:
        """The program without its folder."""
        return Path(self.words[0]).name

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        yield re.sub(r"(^|\s)#.*", "", line).strip()


def _split(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of a line of shell; loops and assignments are looked into."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|"):
            while words and words[0] in _SHELL:
                words = [] if words[0] == "for" else words[1:]
            if words and words[0] != "done":
                yield tuple(words)
            words = []
        elif not (word.isidentifier() is False and "=" in word and not words):
            words.append(word)


def is_shell(block: str) -> bool:
    """Whether a block without a language is of commands: diagrams have other characters."""
    return block.isascii()


def commands() -> list[Command]:
    """Every command of every page."""
    found = []
    for path in PAGES:
        page = str(path.relative_to(ROOT))
        for block in blocks(path):
            if is_shell(block):
                found += [Command(page, w) for line in _lines(block) for w in _split(line)]
        for span in spans(path):
            if re.match(r"(\.venv/bin/)?(smap-ros|smap-train|make|python) \S", span):
                found += [Command(page, w, whole=False) for w in _split(span)]
    return found
