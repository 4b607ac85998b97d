"""``python -m smap_train.virtual CONFIG.yaml``: the same as ``smap-train synth``."""

import sys

import typer

from smap_ros.errors import SmapError
from smap_train.virtual.cli import run

if __name__ == "__main__":
    try:
        typer.run(run)
    except SmapError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
