"""``python -m training.virtual CONFIG.yaml``."""

import typer

from training.virtual.cli import main

if __name__ == "__main__":
    typer.run(main)
