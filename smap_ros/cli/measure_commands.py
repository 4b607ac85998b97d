"""The commands `smap-ros evaluate` and `smap-ros bag`: their words and help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from smap_ros.cli.model_options import RECTIFIED, SMOOTHING, takes_model
from smap_ros.estimators.options import ModelChoice
from smap_ros.spread import Workers
from smap_ros.temporal.options import SmootherConfig


class Protocol(str, Enum):
    """Ways to measure; see smap_ros.evaluation."""

    virtual = "virtual"
    pck2d = "pck2d"
    views = "views"
    mupots = "mupots"
    panoptic = "panoptic"
    h36m_p1 = "h36m-p1"
    h36m_p2 = "h36m-p2"
    threedpw = "3dpw"
    coco = "coco"
    mot = "mot"


@takes_model("engine", "threads", "precision", "image_up")
def evaluate(
    predictions: Annotated[
        str,
        typer.Argument(
            metavar="PRED",
            help="A bodies.json, a folder with one in a folder for each sequence, a bundle (name "
            "or folder), or official results of mupots (folder of .mat), h36m and coco (.json).",
        ),
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="GT",
            help="virtual: folder of shards, or truth.json of a clip. pck2d: LSPET zip or folder. "
            "views: the same, or an .npz of landmarks beside the zip of its photos. coco: "
            "person_keypoints_*.json, or the folder of COCO. mot: folder of gt/gt.txt and img1 or "
            "a video, or a folder of these. The others: "
            "folder of the data set in its official layout, or one of its sequences.",
        ),
    ],
    protocol: Annotated[Protocol, typer.Option("--protocol", "-p", help="What is measured.")],
    model: ModelChoice,
    report: Annotated[
        Path | None,
        typer.Option("--report", "-r", help="Folder for all numbers, plots and the worst cases."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            min=0,
            help="pck2d, views: take the last N photos, 0 for all. Without it 500, or 100 for "
            "views, as training keeps them.",
        ),
    ] = None,
    body_model: Annotated[
        Path | None,
        typer.Option(
            "--body-model",
            help="3dpw: folder of your SMPL_NEUTRAL.npz and J_regressor_h36m.npy, for the "
            "official joints and for meshes.",
        ),
    ] = None,
    found_by: Annotated[
        str | None,
        typer.Option(
            "--found-by",
            help="Bundle that found the people of a bodies.json; they are smoothed as its are.",
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=0,
            help="Processes that run a bundle; 0: one, or with --ray one a CPU of the cluster.",
        ),
    ] = 0,
    ray: Annotated[
        str,
        typer.Option(
            "--ray",
            help="Ray cluster that runs a bundle: HOST:PORT, auto, or local to "
            "start one. It sees the files under the same paths.",
        ),
    ] = "",
) -> None:
    """Measure people found, or a bundle, against the truth.

    virtual: people in metres on rendered scenes. pck2d: joints in labelled photos. views: people of
    photos cut, shrunk, turned, in the dark. mupots: MuPoTS-3D. panoptic: CMU Panoptic. h36m-p1,
    h36m-p2: Human3.6M. 3dpw: 3DPW. coco: average precision of COCO's keypoints. These are measured
    as the official scripts do; bring the data sets yourself. mot: who is found, missed, and seen
    where nobody is, in films labelled by boxes (MOTChallenge's format, which CVAT writes as well).

    [bold]Examples[/bold]

    [cyan]smap-ros evaluate --protocol virtual smap_lite data/virtual_test --report report[/cyan]

    [cyan]smap-ros evaluate --protocol virtual out/bodies.json config/demo/truth.json[/cyan]

    [cyan]smap-ros evaluate --protocol pck2d smap_lite lspet_train.zip --report report[/cyan]

    [cyan]smap-ros evaluate --protocol mupots smap_lite MultiPersonTestSet --report report[/cyan]

    [cyan]smap-ros evaluate --protocol h36m-p2 found/bodies.json Human36M[/cyan]

    [cyan]smap-ros evaluate --protocol mot smap_lite kitchen --report report[/cyan]
    """
    from smap_ros.cli.evaluate import EvaluateOptions, run

    run(
        EvaluateOptions(
            protocol=protocol.value,
            predictions=predictions,
            truth=truth,
            report=report,
            model=model,
            last=last,
            body_model=body_model,
            found_by=found_by,
            workers=Workers(jobs, ray),
        )
    )


@takes_model(further=[RECTIFIED, *SMOOTHING])
def bag(
    paths: Annotated[
        list[Path], typer.Argument(metavar="BAG", help="Folder, .mcap or .db3 of a recording.")
    ],
    report: Annotated[
        Path, typer.Option("--report", "-r", help="Folder for the report: md, html, json, png.")
    ],
    model: ModelChoice,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Take the people in the bag; don't find them anew.")
    ] = False,
    camera: Annotated[
        Path | None, typer.Option("--camera", help="Calibration file instead of the CameraInfo.")
    ] = None,
    fov: Annotated[
        float | None, typer.Option("--fov", help="Horizontal field of view in degrees instead.")
    ] = None,
    image_topic: Annotated[
        str | None,
        typer.Option("--image-topic", help="Image topic, where the bag holds several cameras."),
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", help="With --recorded: topic of people; else bodies.")
    ] = None,
    rectified: str = "auto",
    smoothing: str = "auto",
    smoothing_delay: int = 0,
    fixed_frame: Annotated[
        str,
        typer.Option(
            "--fixed-frame",
            help="TF frame that stands still; the camera's motion comes from it, as far as the "
            "bag has TF. Without it odom, map or world.",
        ),
    ] = "",
    world_frame: Annotated[
        str,
        typer.Option(
            "--world-frame",
            help="TF frame with z up and 0 on the floor, where the bag has TF, for models that "
            "take it: kind virtualpose, others with --on-floor true.",
        ),
    ] = "",
    truth: Annotated[
        Path | None, typer.Option("--truth", help="truth.json of the clip that the bag shows.")
    ] = None,
    truth_topic: Annotated[
        str | None,
        typer.Option("--truth-topic", help="Topic of BodyArray in the bag that is the truth."),
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Take every N-th image.")] = 1,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", min=1, help="Stop after so many images.")
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=0,
            help="Of several bags, so many at a time; 0: one, or with --ray one a CPU.",
        ),
    ] = 0,
    ray: Annotated[
        str,
        typer.Option("--ray", help="Of several bags: Ray cluster, as for evaluate."),
    ] = "",
) -> None:
    """Replay recordings and report on them: latency, rates, gaps, people, identities, errors.

    A bag that was cut off is reported as far as it can be read, with a warning. Several bags have a
    folder each in the report's; one that can't be read costs none of the others.

    [bold]Examples[/bold]

    [cyan]smap-ros bag run_17 --report report[/cyan]

    [cyan]smap-ros bag run_17 --recorded --report report[/cyan]   what the robot itself published

    [cyan]smap-ros bag out/demo/bag --truth config/demo/truth.json --report report[/cyan]

    [cyan]smap-ros bag monday/* --jobs 4 --threads 2 --report report[/cyan]   a folder each
    """
    from smap_ros.cli import bags
    from smap_ros.cli.bag import BagOptions, run

    options = BagOptions(
        bag=paths[0],
        report=report,
        recorded=recorded,
        model=model,
        camera=camera,
        fov_degrees=fov,
        image_topic=image_topic,
        topic=topic,
        rectified=rectified,
        truth=truth,
        truth_topic=truth_topic,
        every=every,
        max_frames=max_frames,
        smoothing=SmootherConfig(smoother=smoothing, delay=smoothing_delay),
        fixed_frame=fixed_frame,
        world_frame=world_frame,
    )
    if len(paths) == 1:
        run(options)
    else:
        bags.run(paths, options, Workers(jobs, ray))
