"""What users may set of the nodes and of the graph: one ``Options`` for each.

A field here is a ROS parameter (or an argument of the graph), a launch argument, a line of
``config/pose3d.yaml`` and one of ``docs/parameters.md``. What belongs to models and to the
smoother is stated in ``estimators/options.py`` and ``temporal/options.py``.
"""

from __future__ import annotations

from typing import Literal

from smap_ros.estimators.options import ModelOptions
from smap_ros.settings import Changes, Options, setting
from smap_ros.temporal.options import SmootherConfig

Rectified = Literal["auto", "yes", "no"]


class ImageTopic(Options):
    """How a node has its images."""

    compressed: bool = setting(
        False,
        "use sensor_msgs/CompressedImage on image/compressed instead of sensor_msgs/Image on image",
    )


class ImageQuality(ImageTopic):
    """Quality of service of a node's images."""

    image_reliability: Literal["best_effort", "reliable"] = setting(
        "best_effort",
        "of images: best_effort takes those of any publisher; reliable has what got lost sent "
        "again, and gets nothing of a publisher that offers best effort",
    )
    image_depth: int = setting(
        5, "images that the middleware keeps until they are taken", low=1, high=100
    )


class Intrinsics(Options):
    """How a node knows the camera of images that a driver publishes."""

    fov_deg: float = setting(
        0.0,
        "state the horizontal field of view, 1.2 to 157, and do without CameraInfo; 0: use that",
        unit="degrees",
        low=0,
        high=179,
        changes=Changes.ANY_TIME,
    )
    rectified: Rectified = setting(
        "auto",
        "whether the images were rectified, so that their pixels belong to P of CameraInfo and no "
        "lens is left; auto: by the names of the topics (image_rect*, camera_info_rect)",
    )


class FloorOptions(Options):
    """How a node knows where the floor is."""

    world_frame: str = setting(
        "",
        "TF frame with z up and 0 on the floor, like base_footprint or map, for the viewer and for "
        "models that take it (kind virtualpose, others with on_floor): the camera's height and "
        "tilt come from TF then; empty: from camera_height and its like",
    )


class CameraNodeOptions(ImageQuality):
    """Settings of the camera node."""

    source: str = setting(
        "",
        "image file, folder of images, video file, ROS bag, camera index, /dev/videoN (or a link "
        "to it) or URL; "
        "without one launch files show the clip that ships, with its calibration",
    )
    image_topic: str = setting("", "topic of a bag's images; empty: that of its camera")
    bag_tf: bool = setting(
        True,
        "say on /tf where a bag's frames were at each of its images; false where TF comes from "
        "elsewhere",
    )
    calibration: str = setting("", "calibration file of ROS, OpenCV or kalibr; empty: use fov_deg")
    rectified: Rectified = setting(
        "auto",
        "whether the images of source were rectified, so that their pixels belong to P of the "
        "calibration and no lens is left; auto: by the topics' names in a bag",
    )
    fov_deg: float = setting(
        0.0,
        "horizontal field of view, when there is no calibration, 1.2 to 157; 0: not stated",
        unit="degrees",
        low=0,
        high=179,
    )
    frame_id: str = setting("camera_optical_frame", "frame of the images (optical frame)")
    rate: float = setting(
        0.0,
        "images per second, of a V4L2 device too; 0: as the source says, or 10",
        unit="hertz",
        low=0,
        high=1000,
    )
    image_width: int = setting(
        0, "width that a V4L2 device is asked for; 0: its own", unit="pixels", low=0, high=16384
    )
    image_height: int = setting(
        0, "height that a V4L2 device is asked for; 0: its own", unit="pixels", low=0, high=16384
    )
    pixel_format: str = setting(
        "",
        "format that a V4L2 device is asked for, by its four letters, like MJPG or YUYV; empty: "
        "its own",
    )
    pacing: Literal["auto", "real_time", "as_consumed"] = setting(
        "auto",
        "auto: files at their pace, but each image once the people of the one before have arrived, "
        "where somebody looks for people; real_time: at the source's pace, whoever listens; "
        "as_consumed: each image once the people of the one before have arrived. A video or bag "
        "is shown no faster than it was recorded, by the stamps of its images (or by rate), so "
        "that people move as they did; only as_consumed with stamps:=recorded needs no such wait",
    )
    stamps: Literal["shown", "recorded"] = setting(
        "shown",
        "shown: images are stamped when they are published; recorded: a bag's images, and its TF, "
        "keep their own stamps, and a video's the time in the file, so that a replay is the same "
        "each time and can be joined with other topics of the bag; nobody knows a latency then",
    )
    consume_timeout: float = setting(
        5.0,
        "longest wait for the people of an image",
        unit="seconds",
        low=0.1,
        high=600,
    )
    subscribers: int = setting(
        0,
        "the first image waits until so many subscribe to images, or for a minute; in "
        "replay.launch.py 1, which is the pose node",
        low=0,
        high=100,
    )
    loop: bool = setting(False, "start again at the end of a file")
    exit_at_end: bool = setting(True, "end the process after the last image")
    jpeg_quality: int = setting(90, "quality of compressed images", low=1, high=100)


class Pose3dNodeOptions(ImageQuality, Intrinsics, FloorOptions):
    """Settings of the pose node, beside those of its model's kind."""

    model: ModelOptions = ModelOptions()
    images_wait: bool = setting(
        False,
        "no image is ever late, as of files that replay.launch.py plays with pacing:=as_consumed, "
        "which sets it: there is no second_look_budget then unless stated, so that what is found "
        "doesn't depend on the machine's pace",
    )
    mesh_rate: float = setting(
        2.0,
        "how often people's surfaces are published on meshes while somebody subscribes, with "
        "models that give them (kinds mesh and video); 0: never",
        unit="hertz",
        low=0,
        high=30,
        changes=Changes.ANY_TIME,
    )
    autostart: bool = setting(
        True,
        "configure and activate at the start; false leaves that to a lifecycle manager",
        changes=Changes.START,
    )
    on_failure: Literal["stay", "exit"] = setting(
        "stay",
        "where autostart can't load the model: stay, unconfigured, and say so in /diagnostics; or "
        "exit, with status 2",
        changes=Changes.START,
    )


class SmootherNodeOptions(Options):
    """Settings of the smoother node, beside those of smoother and tracker."""

    smoothing: SmootherConfig = SmootherConfig()
    fixed_frame: str = setting(
        "",
        "TF frame that stands still, like odom or map: the camera's motion comes from TF then, and "
        "nobody is lost when it turns; empty: estimated from the people",
        changes=Changes.START,
    )


class MarkerStyle(Options):
    """How people look in RViz."""

    joint_diameter: float = setting(
        0.07, "size of the joints", unit="metres", low=1e-3, high=1, changes=Changes.ANY_TIME
    )
    limb_width: float = setting(
        0.03, "width of the limbs", unit="metres", low=1e-3, high=1, changes=Changes.ANY_TIME
    )
    labels: bool = setting(True, "show id and distance above each person", changes=Changes.ANY_TIME)
    lifetime: float = setting(
        2.0,
        "markers vanish when nothing came for this long; 0: never",
        unit="seconds",
        low=0,
        high=3600,
        changes=Changes.ANY_TIME,
    )


class MarkersNodeOptions(ImageQuality):
    """Settings of the markers node."""

    style: MarkerStyle = MarkerStyle()
    tf: bool = setting(False, "publish a TF frame body_<id> for each tracked person")
    tf_prefix: str = setting(
        "",
        "stands before body_<id>, for several cameras in one graph, like left_; empty: the node's "
        "namespace and a slash, if it is in one",
    )
    hri: Literal["auto", "on", "off"] = setting(
        "auto",
        "publish tracked people on /humans/bodies (REP-155); auto: where hri_msgs is installed; "
        "on: with a warning where it isn't. For one graph of a robot: who isn't in a list is gone",
    )


class ViewNodeOptions(ImageQuality, Intrinsics, FloorOptions):
    """Settings of the viewer, which shows people in a browser."""

    view_host: str = setting(
        "127.0.0.1",
        "address that the viewer's page is served on; any but this machine's own shows the "
        "camera's pictures to everybody who reaches it",
    )
    view_port: int = setting(
        8080, "port of the viewer's page; 0: one that is free", low=0, high=65535
    )
    view_rate: float = setting(
        20.0,
        "frames that the viewer shows at most",
        unit="hertz",
        low=0.1,
        high=120,
        changes=Changes.ANY_TIME,
    )
    view_trail: float = setting(
        3.0,
        "how long people's ways stay to be seen in the viewer",
        unit="seconds",
        low=0,
        high=60,
        changes=Changes.ANY_TIME,
    )


class RecorderNodeOptions(ImageQuality):
    """Settings of the recorder, which only ``smap-ros demo`` starts."""

    output: str = setting("", "folder of the bag; it must not exist yet")
    jpeg_quality: int = setting(
        92, "raw images are recorded as jpeg of this quality; 0: as they are", low=0, high=100
    )


class GraphOptions(Options):
    """What launch files and ``smap-ros up`` take beside the parameters of the nodes."""

    namespace: str = setting("", "namespace of all nodes and topics")
    image: str = setting("image", "topic of the images")
    camera_info: str = setting("camera_info", "topic of the calibration")
    bodies: str = setting(
        "bodies", "topic of the people; bodies stands for bodies_raw where there is no smoother"
    )
    smoother: bool = setting(True, "run the smoother: ids and smooth joints on bodies")
    markers: bool = setting(True, "run the markers node: poses, markers, pictures, TF")
    composed: bool = setting(False, "run all nodes in one process")
    params_file: str = setting("", "parameters of the nodes (YAML); empty: config/pose3d.yaml")
    use_sim_time: bool = setting(False, "take the time from /clock")
    log_level: Literal["debug", "info", "warn", "error", "fatal"] = setting(
        "info", "least level of log messages"
    )
    view: bool = setting(False, "also show people in a browser, on view_host and view_port")
    rviz: bool = setting(False, "also start RViz with our layout (needs rviz2)")
