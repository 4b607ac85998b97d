"""Lists the tests that take time, for `make test-fast`, which leaves them out.

Reads what `make test ARGS=--junitxml=out/tests.xml` measured and writes tests/slow.txt: a test
function whose slowest case, or all of whose cases, take longer than the limits.

    .venv/bin/python .ci/slow.py out/tests.xml
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
CASE = 0.7  # seconds, of the slowest case of a function
FUNCTION = 3.0  # seconds, of all its cases
LIST = ROOT / "tests" / "slow.txt"


def function_of(classname: str, name: str) -> str:
    """The node id of a test function from the names in the report, without the case."""
    parts = classname.split(".")
    for length in range(len(parts), 0, -1):
        path = Path(*parts[:length]).with_suffix(".py")
        if (ROOT / path).is_file():
            inner = [*parts[length:], name.partition("[")[0]]
            return "::".join([str(path), *inner])
    raise SystemExit(f"{classname} is no file of the tests; run pytest in the checkout")


def slow(report: Path) -> list[str]:
    """The functions over the limits, by a report of pytest."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        function = function_of(case.get("classname", ""), case.get("name", ""))
        seconds[function].append(float(case.get("time", 0)))
    return sorted(f for f, cases in seconds.items() if max(cases) > CASE or sum(cases) > FUNCTION)


if __name__ == "__main__":
    # Comments, files and whole folders stay as somebody wrote them.
    lines = LIST.read_text().splitlines()
    whole = [line for line in lines if "::" not in line and not line.startswith("#")]
    found = [one for one in slow(Path(sys.argv[1])) if not one.startswith(tuple(whole))]
    head = [line for line in lines if line.startswith("#")]
    LIST.write_text("\n".join([*head, *sorted([*whole, *found])]) + "\n")
