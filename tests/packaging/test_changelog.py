"""The changelog in the form that bloom reads, made from the one that people write."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from catkin_pkg.changelog import get_changelog_from_path
from catkin_pkg.package_version import get_forthcoming_label, update_changelog_sections

import smap_ros

ROOT = Path(__file__).resolve().parents[2]
ENTRY = re.compile(r"^- ", re.M)
RELEASED = re.compile(r"^## (\S+) - \d{4}-\d\d-\d\d$", re.M)


def in_form_of_bloom(markdown: Path) -> str:
    """What `make changelog` writes."""
    command = [sys.executable, str(ROOT / ".ci" / "changelog.py"), str(markdown)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def read(tmp_path):
    """Versions of a changelog in Markdown as catkin_pkg reads them: number, date, entries."""

    def versions(markdown: str):
        source = tmp_path / "CHANGELOG.md"
        source.write_text(markdown, encoding="utf-8")
        (tmp_path / "CHANGELOG.rst").write_text(in_form_of_bloom(source), encoding="utf-8")
        changelog = get_changelog_from_path(str(tmp_path), "smap_ros")
        return [
            (version, date and str(date.date()), [" ".join(str(b).split()) for b in listed.bullets])
            for version, date, (listed,) in changelog.foreach_version(reverse=True)
        ]

    return versions


def test_entries_come_with_their_version_kind_and_markup(read) -> None:
    newer, older = read(
        "# Changelog\n\nNot an entry.\n\n## 0.2.0 - 2027-01-31\n\nAbout it.\n\n### Added\n"
        "- Option `--a_b *`\n  of `smap-ros`s, see [here](https://a.org/b_).\n"
        "- A_ *star* | [page](docs/x.md)\n\n### Fixed\n- <x>\n\n## 0.1.0 - 2026-12-01\n- First\n"
    )
    assert older == ("0.1.0", "2026-12-01", ["First"])
    version, date, entries = newer
    assert (version, date) == ("0.2.0", "2027-01-31")
    assert entries[0] == "About it." and entries[3] == "Fixed: <x>"
    assert entries[1].startswith("Added: Option ``--a_b *`` of ``smap-ros``")
    assert "https://a.org/b_" in entries[1]
    assert entries[2] == "Added: A_ *star* | page"


def test_all_entries_of_ours_reach_bloom(read) -> None:
    markdown = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = markdown.replace("- unreleased", "- 2030-01-01")
    versions = read(dated)
    assert versions[0][0] == smap_ros.__version__
    entries = [entry for _, _, texts in versions for entry in texts]
    assert sum(entry.startswith(("Added: ", "Fixed: ", "Changed: ")) for entry in entries) == len(
        ENTRY.findall(markdown)
    )
    assert "metric 3D skeletons" in entries[0]


def test_released_versions_in_the_file_are_those_of_the_changelog() -> None:
    """What isn't released may lag behind: `make changelog` is part of a release."""
    written = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    made = in_form_of_bloom(ROOT / "CHANGELOG.md")
    released = RELEASED.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    for version in released:
        section = rf"(?ms)^{re.escape(version)} \(.*?(?=^\S+ \(|\Z)"
        assert re.search(section, written)[0] == re.search(section, made)[0], "run make changelog"
    if smap_ros.__version__ in released:
        assert written == made, "run make changelog"


def test_bloom_finds_the_version_to_release(tmp_path) -> None:
    """As catkin_prepare_release makes a release, and bloom reads it."""
    forthcoming = get_changelog_from_path(str(ROOT), "smap_ros")
    assert forthcoming is not None
    assert get_forthcoming_label(forthcoming.rst) == "Forthcoming"
    file = Path(shutil.copy(ROOT / "CHANGELOG.rst", tmp_path))
    version = smap_ros.__version__
    update_changelog_sections({"smap_ros": (file, forthcoming, "Forthcoming")}, version)
    changelog = get_changelog_from_path(str(tmp_path), "smap_ros")
    ((found, date, content),) = changelog.foreach_version()
    assert found == version and date is not None
    assert "metric 3D skeletons" in str(content[0]) and len(content[0].bullets) > 50
