"""The command line of data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[Path, typer.Argument(help="The data set as published: a zip file or a folder.")]
Out = Annotated[Path, typer.Argument(help="File to write.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
convert = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _data() -> None:
    """Data sets for training."""


@app.command()
def check(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Annotation files, folders of them or of shards, or configurations of recipes."
        ),
    ],
    layout: Annotated[
        str | None, typer.Option(help="Of the paths; by itself it is told from them.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that the names of pictures begin in.")
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every picture, as training will.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Report to write, as JSON.")] = None,
    show: Annotated[int, typer.Option(min=0, help="Findings of a kind that are printed.")] = 3,
) -> int:
    """Say what is wrong with data sets: missing, malformed, absurd, in the wrong unit.

    The exit status is 0 if nothing is, 1 if records have findings, 2 if a data set can't be read.

    Example: smap-train data check training/configs/smap.yaml --decode
    """
    from smap_train.data.check_command import check_paths

    return check_paths(paths, layout, images, decode=decode, json_file=json, show=show)


@app.command()
def preview(
    config: Annotated[
        Path, typer.Argument(help="YAML with `recipe: NAME`, see training/configs/.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, in place of what the file says.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("preview.png"),
    count: Annotated[int, typer.Option(min=1, max=200, help="Samples that are drawn.")] = 12,
    first: Annotated[int, typer.Option(min=0, help="Number of the first one in the run.")] = 0,
) -> None:
    """Draw samples as the network gets them, after augmentation, with their targets.

    Example: smap-train data preview training/configs/smap_virtual.yaml --out sheet.png
    """
    from smap_train.data.preview import write_preview
    from smap_train.recipes.registry import open_recipe

    places = write_preview(open_recipe(config, overrides or []), out, count, first)
    typer.echo(f"{out}: {len(places)} samples")


@convert.callback()
def _convert() -> None:
    """Bring public data sets into the form that training reads; docs/data.md has the links."""


@convert.command()
def lspet(source: Source, out: Out) -> None:
    """Leeds Sports Pose Extended: photos of sports with 2D joints.

    Example: smap-train data convert lspet lspet_dataset.zip data/lspet_train.zip
    """
    from smap_train.data.convert.photos import convert_lspet

    typer.echo(f"{out}: {convert_lspet(source, out):,} photos of a labelled person")


@convert.command()
def ccp(source: Source, out: Out) -> None:
    """Clothing Co-Parsing: street photos, and masks of people.

    Example: smap-train data convert ccp clothing-co-parsing data/ccp_people.zip
    """
    from smap_train.data.convert.photos import convert_ccp

    photos, masks = convert_ccp(source, out)
    typer.echo(f"{out}: {photos:,} photos, {masks:,} masks")


@convert.command()
def cmu(
    sources: Annotated[
        list[Path], typer.Argument(help="Motions (.txt, .bvh, .amc), or folders of them.")
    ],
    out: Out,
) -> None:
    """Motion capture of the CMU database, for synth --motion.

    Example: smap-train data convert cmu data/cmu_mocap/train data/cmu.npz
    """
    from smap_train.data.convert.cmu import convert_cmu

    names = convert_cmu(sources, out)
    typer.echo(f"{out}: {len(names)} motions, {', '.join(names[:5])}{' ...' * (len(names) > 5)}")


@convert.command()
def pseudo(
    source: Annotated[
        Path, typer.Argument(help="What lspet or ccp wrote; for --network, earlier pseudo labels.")
    ],
    out: Out,
    network: Annotated[
        Path | None,
        typer.Option(
            help="Landmark network (.tflite, of the npm package @mediapipe/pose) that looks at who "
            "is labelled in SOURCE; without, MediaPipe looks for people, and has to be installed."
        ),
    ] = None,
) -> None:
    """Pseudo labels of joints and depth for the photos that lspet or ccp wrote.

    Example: smap-train data convert pseudo data/lspet_train.zip data/lspet_pseudo3d.npz
    """
    from smap_train.data.convert.pseudo import convert_pseudo

    if network is None:
        photos, found = convert_pseudo(source, out)
    else:
        from smap_train.data.convert.told import convert_labelled

        photos, found = convert_labelled(source, out, network)
    typer.echo(f"{out}: {photos:,} photos, somebody found in {found:,}")


Folder = Annotated[
    str, typer.Option(help="Folder of the pictures, relative to that of the data set.")
]


@convert.command("smap-coco")
def smap_coco(
    source: Annotated[Path, typer.Argument(help="person_keypoints_train2017.json")],
    out: Out,
    folder: Folder = "train2017",
    validation: Annotated[bool, typer.Option(help="Mark the records as held out.")] = False,
) -> None:
    """COCO's keypoints as SMAP's unified JSON.

    Example: smap-train data convert smap-coco person_keypoints_train2017.json data/coco.json
    """
    from smap_train.data.layouts.coco import read_coco
    from smap_train.data.layouts.smap_json import write_smap_json

    count = write_smap_json(out, read_coco(source, folder, validation=validation))
    typer.echo(f"{out}: {count:,} pictures with somebody labelled")


@convert.command("smap-muco")
def smap_muco(
    source: Annotated[Path, typer.Argument(help="MuCo-3DHP.json")],
    out: Out,
    folder: Folder = "",
) -> None:
    """MuCo-3DHP as SMAP's unified JSON: 15 joints, millimetres become centimetres.

    Example: smap-train data convert smap-muco MuCo-3DHP.json data/muco.json
    """
    from smap_train.data.layouts.muco import read_muco
    from smap_train.data.layouts.smap_json import write_smap_json

    typer.echo(f"{out}: {write_smap_json(out, read_muco(source, folder)):,} pictures")


@convert.command("smap")
def smap(
    source: Annotated[Path, typer.Argument(help="Labels as published, or shards.")],
    out: Out,
    layout: Annotated[
        str | None, typer.Option(help="Of the source; by itself it is told from it.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th frame or person.")] = 1,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for the pictures of shards; beside OUT if none.")
    ] = None,
    validation: Annotated[bool, typer.Option(help="Mark the records as held out.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what can't be used.")
    ] = False,
) -> None:
    """A data set of any layout as SMAP's unified JSON: 15 joints, pixels and centimetres.

    COCO and MuCo-3DHP have commands of their own, which follow SMAP's rules for them.

    Example: smap-train data convert smap data/panoptic data/panoptic/annotations.json --every 3
    """
    from smap_train.data.convert.forms_command import convert_smap

    typer.echo(convert_smap(source, out, layout, every, pictures, validation, skip_bad))


@convert.command("shards")
def shards(
    source: Annotated[Path, typer.Argument(help="SMAP's unified JSON.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    images: Annotated[Path, typer.Option(help="Folder that img_paths begins in.")] = Path(),
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what can't be used.")
    ] = False,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Of the records, those of isValidation 1.")
    ] = False,
) -> None:
    """SMAP's unified JSON and its pictures as shards, as `smap-train synth` writes them.

    Records held out (isValidation 1) are left out; shards can't tell them from the others.

    Example: smap-train data convert shards data/muco/annotations/MuCo.json data/muco_shards
    """
    from smap_train.data.convert.forms_command import convert_shards

    typer.echo(convert_shards(source, out, images, skip_bad, held_out))


@app.command()
def layouts() -> None:
    """List the layouts that are read, and what their labels are."""
    from smap_train.data.layouts.known import LAYOUTS, SUMMARIES

    for name in sorted(LAYOUTS):
        typer.echo(f"{name:20} {SUMMARIES[name]}")


app.add_typer(convert, name="convert")
