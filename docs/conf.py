"""The documentation site: the repository's Markdown pages and the API from the docstrings.

``make docs`` builds it. The source folder is the repository itself, so that every link between the
README, the pages in ``docs/``, the models' cards and the messages means the same on the site and in
a checkout; warnings, and so links that lead nowhere, are errors.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from smap_ros import __version__  # noqa: E402

project = "smap_ros"
author = "smap_ros maintainers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/api/*.md",
    "models/*/README.md",
    "config/demo/README.md",
    "training/NOTES.md",
    "bench/one_by_one/README.md",
]
exclude_patterns = [".venv", ".git", "build", "dist", "install", "log", "out", "docs/_build"]

# Pages of the menu, in the order in which a newcomer reads them.
PAGES = {
    "Use": [
        "nearest",
        "python",
        "robot",
        "cameras",
        "temporal",
        "install",
        "nvidia",
        "troubleshooting",
        "parameters",
    ],
    "Judge": ["view", "models", "evaluation", "recordings"],
    "Build": ["first_training", "training", "data", "api/index"],
}
OTHERS = {
    "Project": [
        "models/smap_lite/README",
        "models/smap_lite_free/README",
        "models/virtualpose_lite/README",
        "models/mobilehuman_lite/README",
        "models/maed_smoother/README",
        "config/demo/README",
        "bench/one_by_one/README",
        "training/NOTES",
        "CONTRIBUTING",
        "CHANGELOG",
    ]
}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # links to headings, as GitHub makes them
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"smap_ros {release}"
html_copy_source = False
html_show_sourcelink = False
html_additional_pages = {"index": "redirect.html"}
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["wide.css"]


def menu() -> str:
    """Sphinx's table of contents, which a reader of README.md on its own has no use for."""
    groups = {
        group: [f"docs/{page}" for page in pages if (ROOT / f"docs/{page}.md").is_file()]
        for group, pages in PAGES.items()
    }
    known = {page for pages in groups.values() for page in pages}
    found = {f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md")}
    groups["Use"] += sorted(found - known)  # a new page is in the menu before it is given a place
    blocks = [
        "\n".join([":::{toctree}", ":hidden:", f":caption: {group}", "", *pages, ":::"])
        for group, pages in {**groups, **OTHERS}.items()
    ]
    return "\n\n".join(["", *blocks, ""])


def setup(app: object) -> None:
    """Add the menu to the first page, and read our docstrings' lists of names."""

    def add_menu(_: object, name: str, source: list[str]) -> None:
        if name == root_doc:
            source[0] += menu()

    def one_name_a_line(_: object, *about: object) -> None:
        """``width, height: text`` is for one entry to Sphinx: make it two with the same text."""
        lines = about[-1]
        assert isinstance(lines, list)
        found = [re.match(r"(\s+)(\w+(?:, \w+)+): (.*)", line) for line in lines]
        lines[:] = [
            new
            for line, names in zip(lines, found, strict=True)
            for new in (
                [f"{names[1]}{name}: {names[3]}" for name in names[2].split(", ")]
                if names
                else [line]
            )
        ]

    app.connect("source-read", add_menu)  # type: ignore[attr-defined]
    # Before napoleon, which reads the sections at 500.
    app.connect("autodoc-process-docstring", one_name_a_line, 100)  # type: ignore[attr-defined]
