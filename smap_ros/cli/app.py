"""The commands of `smap-ros`: their words and help. What they do is imported when run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from smap_ros.cli.engine_commands import engine_app
from smap_ros.cli.measure_commands import bag, evaluate
from smap_ros.cli.model_options import RECTIFIED, UNSMOOTHED, takes_model
from smap_ros.estimators.options import ModelChoice
from smap_ros.temporal.options import SmootherConfig

app = typer.Typer(
    name="smap-ros",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Real-time, multi-person, absolute 3D human pose for ROS 2 from one RGB camera.",
)
app.add_typer(engine_app, name="engine")


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", "-o", help="File to write instead of the screen.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from smap_ros import __version__

        typer.echo(f"smap-ros {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also log notes.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Real-time, multi-person, absolute 3D human pose for ROS 2 from one RGB camera.

    [bold]Start here[/bold]

    [cyan]smap-ros doctor[/cyan]   what this machine has and lacks

    [cyan]smap-ros demo[/cyan]   the whole ROS 2 graph on the shipped clip

    [cyan]smap-ros estimate clip.mp4 --fov 60 --out out[/cyan]   people of a video, without ROS
    """
    logging.getLogger("smap_ros").setLevel(logging.INFO if verbose else logging.WARNING)


@app.command()
@takes_model(further=[RECTIFIED, *UNSMOOTHED])
def estimate(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Image, folder of images, video, ROS bag, camera index, /dev/videoN or URL.",
        ),
    ],
    out: Out,
    model: ModelChoice,
    camera: Annotated[
        Path | None,
        typer.Option("--camera", help="Calibration file: of ROS, OpenCV or kalibr."),
    ] = None,
    fov: Annotated[
        float | None,
        typer.Option("--fov", help="Horizontal field of view in degrees, instead of --camera."),
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Take every N-th image.")] = 1,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", min=1, help="Stop after so many images.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--image-topic", "--topic", help="Image topic of a bag.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="A folder's images, by name, are a film of so many a second."),
    ] = None,
    camera_timeout: Annotated[
        float | None,
        typer.Option(
            "--camera-timeout",
            min=1,
            help="Give up on a live camera, or a URL's film, that is silent for so many seconds.",
            show_default="waits for ever",
        ),
    ] = None,
    rectified: str = "auto",
    smoothing: str = "none",
    smoothing_delay: int = 0,
) -> None:
    """Find the people of images, videos, bags or a camera, without ROS.

    Writes bodies.json, pictures or a video with skeletons, a contact sheet
    and a 3D plot. Distances need the camera: its calibration or field of view.

    [bold]Examples[/bold]

    [cyan]smap-ros estimate people.jpg --fov 65 --out out[/cyan]

    [cyan]smap-ros estimate walk.mp4 --camera calibration.yaml --every 2 --out out[/cyan]

    [cyan]smap-ros estimate recording.mcap --image-topic /camera/image_raw --out out[/cyan]

    [cyan]smap-ros estimate frames --fps 25 --fov 60 --out out[/cyan]   a film as pictures

    [cyan]smap-ros estimate 0 --fov 70 --max-frames 300 --out out[/cyan]   a live camera

    [cyan]smap-ros estimate crowd.jpg --fov 60 --min-joints 6 --flip-test off --out out[/cyan]
    """
    from smap_ros.cli.estimate import EstimateOptions, run

    run(
        EstimateOptions(
            inputs=tuple(inputs),
            out=out,
            model=model,
            camera=camera,
            fov_degrees=fov,
            every=every,
            max_frames=max_frames,
            topic=topic,
            fps=fps,
            camera_timeout=camera_timeout,
            rectified=rectified,
            smoothing=SmootherConfig(smoother=smoothing, delay=smoothing_delay),
        )
    )


@app.command()
@takes_model()
def demo(
    model: ModelChoice,
    out: Out = Path("out/demo"),
    clip: Annotated[
        Path | None, typer.Option("--clip", help="A video of your own instead of the shipped one.")
    ] = None,
    camera: Annotated[Path | None, typer.Option("--camera", help="Its calibration yaml.")] = None,
    fov: Annotated[
        float | None, typer.Option("--fov", help="Its horizontal field of view in degrees.")
    ] = None,
    real_time: Annotated[
        bool, typer.Option("--real-time", help="Play at the clip's pace, dropping frames if slow.")
    ] = False,
) -> None:
    """Run the whole ROS 2 graph on the shipped clip, headless, and show what came out.

    Starts camera, pose, smoother and marker nodes as processes, records all
    topics into a bag, ends with the clip, and prints where the pictures are,
    the latency by stage, and the error against the clip's ground truth.

    [bold]Examples[/bold]

    [cyan]smap-ros demo[/cyan]

    [cyan]smap-ros demo --out results --engine onnxruntime[/cyan]

    [cyan]smap-ros demo --clip walk.mp4 --fov 60 --real-time[/cyan]
    """
    from smap_ros.cli.demo import DemoOptions, run

    run(
        DemoOptions(
            out=out,
            model=model,
            clip=clip,
            camera=camera,
            fov_degrees=fov,
            real_time=real_time,
        )
    )


@app.command()
def up(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME:=VALUE", help="Launch arguments, as in ros2 launch."),
    ] = None,
    show_args: Annotated[
        bool, typer.Option("--show-args", "-s", help="List the launch arguments and stop.")
    ] = False,
) -> None:
    """Start the live graph, as ros2 launch does; Ctrl-C ends it.

    With source:= our camera node is part of it, as in replay.launch.py; without, as in
    pose3d.launch.py, a driver publishes the images.

    [bold]Examples[/bold]

    [cyan]smap-ros up --show-args[/cyan]

    [cyan]smap-ros up image:=/camera/image_raw camera_info:=/camera/camera_info[/cyan]   a driver

    [cyan]smap-ros up source:=0 fov_deg:=65[/cyan]   a webcam that we read ourselves

    [cyan]smap-ros up source:=walk.mp4 fov_deg:=60 loop:=true[/cyan]
    """
    from smap_ros.cli.up import run

    run(arguments or [], show_args=show_args)


@app.command()
@takes_model("bundle", "threads", "precision")
def bench(
    model: ModelChoice,
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="A runtime, auto, or all that are installed.")
    ] = "all",
    size: Annotated[
        tuple[int, int], typer.Option("--size", help="Width and height of the image in pixels.")
    ] = (1280, 720),
    seconds: Annotated[
        float, typer.Option("--seconds", help="How long each runtime is measured.")
    ] = 3.0,
    image: Annotated[
        Path | None,
        typer.Option("--image", help="A picture instead of the demo's first, of three people."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the numbers as JSON.")
    ] = None,
) -> None:
    """Measure this machine: a bundle in each runtime, from image to people, by stage.

    [bold]Examples[/bold]

    [cyan]smap-ros bench[/cyan]

    [cyan]smap-ros bench --engine openvino --threads 2 --out bench.json[/cyan]

    [cyan]smap-ros bench --image people.jpg --seconds 10[/cyan]
    """
    from smap_ros.cli.bench import run

    run(model, engine, size, seconds, image, out)


@app.command()
def layout(
    frame: Annotated[str, typer.Argument(metavar="FRAME", help="Frame of the camera's images.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of the nodes.")
    ] = "",
    out: OutFile = None,
) -> None:
    """Write a Foxglove layout for a camera of any frame (for RViz: rviz:=true does the same).

    [bold]Examples[/bold]

    [cyan]smap-ros layout camera_color_optical_frame --out people.json[/cyan]

    [cyan]smap-ros layout left_optical --namespace left --out left.json[/cyan]
    """
    from smap_ros.cli.parameters import give
    from smap_ros.graph.layouts import foxglove_layout

    give(foxglove_layout(frame, namespace), out)


@app.command()
def parameters(
    yaml: Annotated[
        bool, typer.Option("--yaml", help="A parameter file with all defaults, to copy and change.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The page docs/parameters.md.")
    ] = False,
    out: OutFile = None,
) -> None:
    """Show what the nodes can be told: every parameter with default, limits and meaning.

    [bold]Examples[/bold]

    [cyan]smap-ros parameters[/cyan]

    [cyan]smap-ros parameters --yaml --out mine.yaml[/cyan]   then: params_file:=mine.yaml
    """
    from smap_ros.cli.parameters import run

    run(yaml=yaml, markdown=markdown, out=out)


@app.command()
def view(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECORDING | NAME:=VALUE...]",
            help="bodies.json or a folder with one, a bag; or arguments of the live viewer.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", help="Address to serve; others than this machine see the camera."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to serve; 0 takes a free one.")
    ] = 8080,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Video, folder or bag with the pictures of a bodies.json."),
    ] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="Image topic of a bag.")] = None,
    camera_height: Annotated[
        float | None,
        typer.Option("--camera-height", min=0.01, help="Metres above the floor; else guessed."),
    ] = None,
    camera_pitch: Annotated[
        float,
        typer.Option("--camera-pitch", min=-90, max=90, help="Degrees that the camera looks down."),
    ] = 0.0,
) -> None:
    """Show people in 3D in a browser: live from a running graph, or a recording with a timeline.

    Serves a page on http://localhost:8080 until Ctrl-C. A graph is looked at only while a browser
    is there; `smap-ros up view:=true` brings its own viewer.

    [bold]Examples[/bold]

    [cyan]smap-ros view[/cyan]   the graph that runs on this machine or network

    [cyan]smap-ros view namespace:=robot image:=/camera/image_raw[/cyan]

    [cyan]smap-ros view out/demo[/cyan]   what `smap-ros demo` or `smap-ros estimate` left

    [cyan]smap-ros view out/demo/bag --port 8090[/cyan]
    """
    from smap_ros.cli.view import ViewOptions, run

    run(ViewOptions(tuple(words or ()), host, port, images, topic, camera_height, camera_pitch))


app.command()(evaluate)
app.command()(bag)


@app.command()
def doctor(
    topic: Annotated[
        str | None, typer.Option("--topic", help="Listen to a camera's topic instead.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1, max=600, help="Listen so long; 10 if unset.")
    ] = None,
    camera_info: Annotated[
        str | None, typer.Option("--camera-info", help="Its calibration; else that beside it.")
    ] = None,
) -> None:
    """Show what this machine has (ROS, runtimes, GPUs, cameras, models) and how to get the rest.

    With --topic: what comes of a camera's topic, what is wrong, what helps; status 2 if not fine.

    [bold]Examples[/bold]

    [cyan]smap-ros doctor[/cyan]

    [cyan]smap-ros doctor --topic /camera/image_raw[/cyan]
    """
    from smap_ros.cli.doctor import run

    run(topic, seconds, camera_info)
