"""The record of a run: what determines it, as exported bundles repeat it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from smap_ros.errors import InputError, reason
from smap_train.engine.config import RunConfig
from smap_train.files import whole_file

RECORD = "run.json"


def write_record(config: RunConfig, files: Iterable[Path], world: int = 1) -> None:
    """Write ``run.json`` beside the checkpoints."""
    record = {
        "config": json.loads(config.model_dump_json()),
        "commit": commit(),
        "data_hash": data_hash(files),
        "devices": world,
    }
    with whole_file(config.out / RECORD, "the run's record") as file:
        file.write((json.dumps(record, indent=2) + "\n").encode())


def check_resumed(config: RunConfig, change: bool = False) -> None:
    """Refuse to resume a run with settings that would make it another one.

    Args:
        config: of the run that is to be resumed.
        change: the user says that it shall change.

    Raises:
        InputError: naming each setting that differs, with what the run was started with.
    """
    path = config.out / RECORD
    if change or not path.exists():
        return
    try:
        before = json.loads(path.read_text())["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({reason(error)}); remove it to resume all the same"
        ) from error
    now = config.determining()
    unset = object()
    differing = [
        f"{name}: {now[name]!r}, was {before.get(name)!r}"
        for name in now
        if before.get(name, unset) != now[name] and (name in before or _not_default(config, name))
    ]
    if differing:
        raise InputError(
            f"{config.out} holds a run with other settings ({'; '.join(differing)}). Choose "
            "another `out`, or add --change to go on with the new settings"
        )


def _not_default(config: RunConfig, name: str) -> bool:
    """Whether a setting, which the run didn't know yet, isn't what it was without it."""
    field = type(config).model_fields[name]
    value: Any = getattr(config, name)
    return name != "recipe" and value != field.get_default(call_default_factory=True)


def data_hash(files: Iterable[Path]) -> str:
    """sha256 over the files' names and contents.

    Raises:
        InputError: if one can't be read.
    """
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(
                f"can't read the training data {path}: {error.strerror or error}; the "
                "configuration names it, and docs/data.md says where it comes from"
            ) from error
    return digest.hexdigest()


def commit() -> str:
    """The commit of the checkout, with ``+dirty`` when it differs; ``unknown`` outside one."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "HEAD")
    return (
        (head + ("+dirty" if git("status", "--porcelain", "-uno") else "")) if head else "unknown"
    )
