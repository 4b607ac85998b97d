"""Prints CHANGELOG.rst, which catkin_prepare_release and bloom read, from CHANGELOG.md.

Each entry becomes one bullet of its version, with the kind of change before it; a version that is
not released yet is ``Forthcoming``, as catkin_prepare_release expects it.
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import TextWrapper

NOTE = ".. `make changelog` writes this file from CHANGELOG.md, where what changed is stated."
# What may stand beside inline literals without being parted from them by an escaped space.
BEFORE, AFTER = " '\"([{<-/:", " '\")]}>-/:.,;!?\\"


@dataclass
class Version:
    """A version and what changed in it, one text an entry."""

    title: str
    entries: list[str] = field(default_factory=list)


def versions(markdown: str) -> list[Version]:
    """The versions of a changelog in Markdown, newest first."""
    found: list[Version] = []
    kind, fresh = "", True  # of change; whether the next line begins an entry
    for line in markdown.splitlines():
        if line.startswith("## "):
            number, _, date = line[3:].partition(" - ")
            released = re.fullmatch(r"\d{4}-\d\d-\d\d", date.strip())
            found.append(Version(f"{number} ({date.strip()})" if released else "Forthcoming"))
            kind, fresh = "", True
        elif line.startswith("### "):
            kind, fresh = f"{line[4:].strip()}: ", True
        elif not line.strip() or not found:
            fresh = True
        elif fresh or line.startswith("- "):
            found[-1].entries.append(kind + line.removeprefix("- ").strip())
            fresh = False
        else:
            found[-1].entries[-1] += f" {line.strip()}"
    return found


def inline(text: str) -> str:
    """Inline Markdown as reStructuredText: code and links; all else is taken as it stands."""
    pieces = re.split(r"(`[^`]+`|\[[^]]+\]\([^)]+\))", text)
    out = ""
    for k, piece in enumerate(pieces):
        if k % 2 == 0:
            out += re.sub(r"([\\*_|`<>])", r"\\\1", piece)
            continue
        if piece.startswith("`"):
            marked = f"`{piece}`"
        else:
            name, _, target = piece[1:-1].partition("](")
            marked = f"`{inline(name)} <{target}>`__" if "://" in target else inline(name)
        out += "\\ " if out and out[-1] not in BEFORE else ""
        after = pieces[k + 1][:1]
        out += marked + ("\\ " if after and after not in AFTER else "")
    return out


def main() -> None:
    """Write the changelog to standard output."""
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "CHANGELOG.md")
    title = "Changelog for package smap_ros"
    bullet = TextWrapper(
        100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    lines = ["^" * len(title), title, "^" * len(title), "", NOTE]
    for version in versions(source.read_text(encoding="utf-8")):
        lines += ["", version.title, "-" * len(version.title)]
        for entry in version.entries:
            lines += bullet.wrap(f"* {inline(entry)}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
