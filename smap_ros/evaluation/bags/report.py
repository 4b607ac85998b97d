"""The report on a bag: tables for the terminal, Markdown and HTML for people, JSON and plots."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from smap_ros.errors import InputError
from smap_ros.evaluation.bags.measures import (
    AS_RECORDED,
    BagRun,
    OverTime,
    Truth,
    handovers,
    tracks,
)
from smap_ros.evaluation.common.identities import INSTALL, has_trackeval
from smap_ros.evaluation.common.measures_report import Details
from smap_ros.evaluation.common.report import PLOTS, number_table, shown

MARKDOWN, HTML = "report.md", "report.html"

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
    "background:#111418;color:#e6e8eb}table{border-collapse:collapse;margin:0 0 1.5rem}"
    "td,th{padding:.2rem .8rem;border-bottom:1px solid #2b3138;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}"
    "li{color:#f0b429}code{color:#9fb3c8}"
)


@dataclass(frozen=True)
class BagReport:
    """Tables, numbers and plots of a run."""

    run: BagRun

    def sections(self) -> list[Details]:
        """All tables, in the order of the report; those without rows are left out."""
        run = self.run
        sections = [
            Details("summary", ("measure", "value"), {k: (v,) for k, v in self._summary().items()}),
            Details(
                f"latency ({run.latency_note})" if run.latency_note else "latency",
                ("stage", "p50 ms", "p95 ms"),
                {name: (shown(v.p50), shown(v.p95)) for name, v in run.latency.items()},
            ),
            Details(
                "topics",
                ("topic", "messages", "Hz", "gaps", "missing", "longest s", "backwards"),
                {
                    topic.name: (
                        str(topic.messages),
                        shown(topic.rate),
                        shown(topic.gaps, 0),
                        shown(topic.missing, 0),
                        shown(topic.longest, 3),
                        str(topic.backwards),
                    )
                    for topic in run.topics
                },
            ),
            Details(
                "tracks",
                ("id", "seconds", "frames", "holes", "from s", "to s"),
                {
                    str(track.id): (
                        shown(track.end - track.start, 2),
                        str(track.frames),
                        str(track.holes),
                        shown(track.start - self._start, 2),
                        shown(track.end - self._start, 2),
                    )
                    for track in tracks(run.frames)
                },
            ),
        ]
        return [section for section in sections if section.rows]

    def tables(self) -> list[Table]:
        """For the terminal."""
        return [number_table(s.title, s.columns, s.rows) for s in self.sections()]

    def numbers(self) -> Mapping[str, Any]:
        """Everything measured, and the people of each frame."""
        run = self.run
        return {
            "bag": run.bag,
            "camera_from": run.camera,
            "people_from": run.mode,
            "seconds": run.seconds,
            "warnings": run.warnings,
            "images": run.images,
            "images_unusable": run.unusable,
            "images_uncalibrated": run.uncalibrated,
            "frames": len(run.frames),
            "people": sum(map(len, run.frames)),
            "latency_ms": {name: vars(value) for name, value in run.latency.items()},
            "latency_note": run.latency_note,
            "topics": [vars(topic) for topic in run.topics],
            "tracks": [vars(track) for track in tracks(run.frames)],
            "probable_switches": handovers(run.frames),
            "truth": None
            if run.truth is None
            else {
                **vars(run.truth.accuracy),
                "recall": run.truth.accuracy.recall,
                "precision": run.truth.accuracy.precision,
                "switches": run.truth.switches,
                "before_smoothing": asdict(run.truth.before),
                "after_smoothing": asdict(run.truth.after),
                "smoother": run.truth.smoother,
            },
            "per_frame": [
                {
                    "index": frame.index,
                    "stamp": frame.stamp,
                    "people": len(frame),
                    "ids": [body.id for body in frame],
                }
                for frame in run.frames
            ],
        }

    def plots(self) -> NDArray[np.uint8]:
        """See :func:`smap_ros.evaluation.bags.plots.bag_figure`."""
        from smap_ros.evaluation.bags.plots import bag_figure  # matplotlib takes a second

        return bag_figure(self.run, self.run.bag)

    def gallery(self) -> None:
        """Pictures of people stay in the bag."""

    @property
    def _start(self) -> float:
        return self.run.frames[0].stamp if self.run.frames else 0.0

    def _summary(self) -> dict[str, str]:
        run = self.run
        counts = [len(frame) for frame in run.frames]
        named = tracks(run.frames)
        rows = {
            "bag": f"{run.bag}, {run.seconds:.1f} s",
            "camera": run.camera,
            "people": run.mode,
            "images / worked on": f"{run.images} / {len(run.frames)}",
            "undecodable / without CameraInfo": f"{run.unusable} / {run.uncalibrated}",
        }
        if counts:
            with_people = sum(count > 0 for count in counts)
            rows["frames with people"] = f"{with_people} of {len(counts)}"
            rows["people per frame, mean / most"] = f"{np.mean(counts):.2f} / {max(counts)}"
        if named:
            length = float(np.median([track.end - track.start for track in named]))
            rows["tracks, median length"] = f"{len(named)}, {length:.2f} s"
            rows["probable changes of identity"] = str(len(handovers(run.frames)))
        if run.truth is not None:
            accuracy = run.truth.accuracy
            rows |= {
                "recall / precision": f"{accuracy.recall:.1%} / {accuracy.precision:.1%}",
                "MPJPE / PA-MPJPE": (
                    f"{shown(accuracy.mpjpe_mm)} / {shown(accuracy.pa_mpjpe_mm)} mm"
                ),
                "distance error, median": f"{shown(accuracy.root_depth_percent)} %",
                "joints of the found": f"{shown(accuracy.joints_percent)} %",
                "changes of identity against the truth": shown(run.truth.switches, 0),
                "as reported, over time"
                if run.raw is None
                else "before smoothing, over time": _told(run.truth.before, run.truth),
                "after smoothing, as recorded"
                if run.truth.smoother == AS_RECORDED
                else f"after our tracker and smoother {run.truth.smoother}": _told(
                    run.truth.after, run.truth
                ),
            }
            if run.truth.switches is not None and not has_trackeval():
                rows["HOTA, MOTA, IDF1"] = INSTALL
        return rows


def _told(numbers: OverTime, truth: Truth) -> str:
    motion, who = numbers.motion, numbers.identities
    switches = None if truth.switches is None else motion.switches
    told = (
        f"MPJPE {shown(motion.mpjpe_mm)} mm, acceleration error {shown(motion.acceleration)} "
        f"({shown(motion.relative_acceleration)} about the pelvis) mm/frame², jerk "
        f"{shown(motion.jerk, 2)} of the truth's, bones' spread {shown(motion.bones_percent)} %, "
        f"lag {shown(motion.lag, 2)} frames, {shown(switches, 0)} switches"
    )
    if (world := numbers.world) is not None:
        told += (
            f"; in {world.frame}: MPJPE {shown(world.mpjpe_mm)} mm, acceleration error "
            f"{shown(world.acceleration)} mm/frame², jerk {shown(world.jerk, 2)} of the truth's"
        )
    if numbers.stride > 1:
        told += f"; a frame here is {numbers.stride} of the truth's"
    if who is None:
        return told
    return (
        f"{told}, HOTA {shown(who.hota)}, DetA {shown(who.deta)}, AssA {shown(who.assa)}, MOTA "
        f"{shown(who.mota)}, IDF1 {shown(who.idf1)}, {who.fragments} fragments"
    )


def write_pages(report: BagReport, command: str, out: Path) -> list[str]:
    """Write the report as Markdown and as HTML, beside the plots.

    Returns:
        Names of the files.

    Raises:
        InputError: if the folder can't be written to.
    """
    pages = {MARKDOWN: markdown(report, command), HTML: page(report, command)}
    for name, text in pages.items():
        try:
            (out / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"can't write {out / name}: {error.strerror}") from error
    return list(pages)


def markdown(report: BagReport, command: str) -> str:
    """The report as Markdown."""
    lines = [f"# Bag {report.run.bag}", "", f"`{command}`", ""]
    if report.run.warnings:
        lines += ["## Warnings", "", *(f"- {text}" for text in report.run.warnings), ""]
    for section in report.sections():
        lines += [f"## {_heading(section.title)}", ""]
        lines.append("| " + " | ".join(section.columns) + " |")
        lines.append("|---" + "|---:" * (len(section.columns) - 1) + "|")
        for name, values in section.rows.items():
            cells = [cell.replace("|", "\\|") for cell in (name, *values)]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join([*lines, f"![plots]({PLOTS})", ""])


def page(report: BagReport, command: str) -> str:
    """The report as one HTML page."""
    run, parts = report.run, [f"<h1>Bag {html.escape(report.run.bag)}</h1>"]
    parts.append(f"<p><code>{html.escape(command)}</code></p>")
    if run.warnings:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in run.warnings)
        parts.append(f"<h2>Warnings</h2><ul>{items}</ul>")
    for section in report.sections():
        head = _row("th", section.columns)
        body = "".join(_row("td", (name, *values)) for name, values in section.rows.items())
        parts.append(f"<h2>{html.escape(_heading(section.title))}</h2>")
        parts.append(f"<table>{head}{body}</table>")
    parts.append(f'<p><img src="{PLOTS}" alt="plots"></p>')
    title = html.escape(f"Bag {run.bag}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _heading(title: str) -> str:
    return title[:1].upper() + title[1:]


def _row(kind: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"
