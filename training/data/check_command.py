"""What `smap-train data check` prints and writes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from tqdm import tqdm

from smap_ros.errors import InputError
from smap_train.data.check import Report, check
from smap_train.data.layouts.known import LAYOUTS, DataSet, configured, recognised
from smap_train.data.shards import shard_files
from smap_train.files import whole_file

DONE, FOUND, UNREADABLE = 0, 1, 2  # exit statuses


def check_paths(
    paths: Sequence[Path],
    layout: str | None,
    images: Path | None,
    *,
    decode: bool,
    json_file: Path | None,
    show: int,
) -> int:
    """Check data sets one after the other, and print what was found.

    Returns:
        0 if nothing was, 1 if records have findings, 2 if a data set can't be read.

    Raises:
        InputError: if a layout is unknown, a configuration is refused, or the report can't be
            written.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError(
            f"layout {layout!r} is unknown; expected one of {', '.join(sorted(LAYOUTS))}"
        )
    # The first time an index is built, which says how far it is.
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    console, reports = Console(soft_wrap=True, highlight=False, markup=False), []
    for path in paths:
        for data in _data_sets(path, layout, images):
            report = data if isinstance(data, Report) else _watched(data, decode)
            _print(console, report, show)
            reports.append(report)
    if json_file is not None:
        with whole_file(json_file, "report") as file:
            content = {"files": [report.content() for report in reports]}
            file.write(json.dumps(content, indent=1).encode())
    if len(reports) > 1:
        wrong = sum(report.found > 0 for report in reports)
        console.print(f"{len(reports)} data sets, {wrong} with findings")
    if any(report.unreadable for report in reports):
        return UNREADABLE
    return FOUND if any(report.found for report in reports) else DONE


def _watched(data: DataSet, decode: bool) -> Report:
    """Check a data set under a bar."""
    with tqdm(desc=str(data.path), unit=" records", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        return check(data, decode=decode, progress=progress)


def _data_sets(path: Path, layout: str | None, images: Path | None) -> Iterator[DataSet | Report]:
    """The data sets of a path, or why it has none."""
    if path.suffix in (".yaml", ".yml") and layout is None:
        from smap_train.recipes.registry import recipe_config  # torch takes a second to import

        found = list(configured(recipe_config(path)[1]))
        if not found:
            raise InputError(f"{path} names no data set that can be checked")
        yield from found
        return
    try:
        known = layout or recognised(path)
    except InputError as error:
        report = Report(path, "", unreadable=True)
        report.add("file", str(error))
        yield report
        return
    inside = shard_files([path]) if known == "shards" else []
    yield from (DataSet(known, file, images) for file in inside or [path])


def _print(console: Console, report: Report, show: int) -> None:
    """A line on the data set, and one on each group of findings with some of these."""
    layout = f" ({report.layout})" if report.layout else ""
    seen = f", {report.pictures:,} pictures" if report.pictures else ""
    state = f"{report.doubtful:,} with findings" if report.found else "nothing found"
    if report.records:
        console.print(f"{report.path}{layout}: {report.records:,} records{seen}; {state}")
    else:
        console.print(f"{report.path}{layout}: can't be used")
    for note in report.notes:
        console.print(f"  note: {note}")
    for group in report.sorted():
        if group.count == 1:
            console.print(f"  {group.kind}: {group.findings[0]}")
            continue
        console.print(f"  {group.kind}: {group.count:,} times: {group.text}")
        for finding in group.findings[:show]:
            console.print(f"    {finding}")
