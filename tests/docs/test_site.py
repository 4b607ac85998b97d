"""The documentation site: it builds, and a link that leads nowhere stops it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the site needs the extra docs: pip install '.[docs]'")
pytest.importorskip("myst_parser", reason="the site needs the extra docs: pip install '.[docs]'")

ROOT = Path(__file__).resolve().parents[2]
README_LINES = 150


def build(source: Path, out: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What ``make docs`` does."""
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-b", "html"]
    command = [sys.executable, "-m", "sphinx", *options, "-c", source / "docs", source, out]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return tmp_path_factory.mktemp("site")


def test_the_site_builds_without_a_warning(site, child_environment):
    done = build(ROOT, site, child_environment)
    assert done.returncode == 0, done.stderr
    pages = list((ROOT / "docs").rglob("*.md"))
    missing = [
        path.name
        for path in [*pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
        if not (site / path.relative_to(ROOT)).with_suffix(".html").is_file()
    ]
    assert not missing, f"pages without a place in docs/conf.py: {missing}"
    # The API is made from the docstrings.
    people = (site / "docs" / "api" / "people.html").read_text()
    assert "smap_ros.camera.Camera.for_image" in people
    assert "Horizontal field of view without distortion, radians." in people
    assert "README.html" in (site / "index.html").read_text()


def small_site(folder: Path, text: str) -> Path:
    """A site of two pages with the settings of ours."""
    (folder / "docs").mkdir(parents=True)
    for name in ("_static", "_templates"):
        shutil.copytree(ROOT / "docs" / name, folder / "docs" / name)
    (folder / "docs" / "robot.md").write_text("# On a robot\n\n## Topics\n")
    (folder / "README.md").write_text(f"# Start\n\n{text}\n")
    # The pages of the menu that aren't here are no matter of this test.
    conf = (ROOT / "docs" / "conf.py").read_text() + "\nOTHERS = {}\n"
    (folder / "docs" / "conf.py").write_text(conf)
    return folder


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path, child_environment):
    good = small_site(tmp_path / "good", "[there](docs/robot.md#topics)")
    done = build(good, tmp_path / "out", child_environment)
    assert done.returncode == 0, done.stderr
    links = "[a](docs/nowhere.md) [b](docs/robot.md#no-such-heading) ![c](no/picture.png)"
    bad = small_site(tmp_path / "bad", links)
    done = build(bad, tmp_path / "out", child_environment)
    assert done.returncode == 1
    for name in ("docs/nowhere", "no-such-heading", "no/picture.png"):
        assert name in done.stderr


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < README_LINES
