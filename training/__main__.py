"""``python -m smap_train`` is ``smap-train``; torchrun starts it so."""

from smap_train.cli import main

if __name__ == "__main__":
    main()
