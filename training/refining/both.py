"""`smap-train looks`: people as a bundle's two looks have them, beside what is known of them.

Of virtual people everything is known; of photos' people where their joints are in the picture, and
what pseudo labels say of depths. All of it is in the people's own frames, as
:mod:`smap_ros.estimators.second_look.learned` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.second_look.learned import INPUTS, REACH, Views, fusing_input
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.estimators.smap.twice import views_of
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.common.views import guessed_camera
from smap_ros.evaluation.pck2d.measures import hips, torso
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.skeletons import MPI15
from smap_train.data.people import PhotoPerson
from smap_train.data.photo_people import PhotoData, open_photos
from smap_train.files import read_arrays, whole_file
from smap_train.refining.origin import who_found

Float = NDArray[np.float32]
Double = NDArray[np.float64]

JOINTS, ROOT = len(MPI15), MPI15.root
_NEAR = 0.5  # of the torso that somebody found in a photo may be from who is labelled
_FORMAT = "smap_ros looked at people 1"


@dataclass(frozen=True)
class LookedAt:
    """M people by both looks, and what is known of them; metres, in the people's frames.

    Attributes:
        given: float32 [M, 350], what a fusing network is fed with.
        poses: float32 [M, 15, 3], about the pelvis; NaN where unknown.
        places: float32 [M, 3], of the pelvis: on the plane, and the logarithm of its distance over
            the one that it was given; NaN where unknown.
        points: float32 [M, 15, 2], of the joints in the picture, on the plane; NaN where unknown.
        photo: bool [M], who is from a photo.
        found_by: hash of the bundle's network that sees the image; empty where unknown.
    """

    given: Float
    poses: Float
    places: Float
    points: Float
    photo: NDArray[np.bool_]
    found_by: str = ""

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: NDArray[Any]) -> LookedAt:
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    @classmethod
    def join(cls, parts: Sequence[LookedAt]) -> LookedAt:
        """All people of several, of the same bundle."""
        columns = ([getattr(part, name) for part in parts] for name in _COLUMNS)
        return cls(*(np.concatenate(column) for column in columns), found_by=parts[0].found_by)

    def save(self, path: Path) -> None:
        """Write a file that :func:`read_looked_at` reads.

        Raises:
            InputError: if it can't be written.
        """
        columns = {name: getattr(self, name) for name in _COLUMNS}
        with whole_file(path, "the people") as file:
            np.savez_compressed(file, format=_FORMAT, found_by=np.array([self.found_by]), **columns)


_COLUMNS = tuple(field.name for field in fields(LookedAt) if field.name != "found_by")
_SHAPES = {"given": (INPUTS,), "poses": (JOINTS, 3), "places": (3,), "points": (JOINTS, 2)}


def read_looked_at(path: Path) -> LookedAt:
    """The people that `smap-train looks` wrote.

    Raises:
        InputError: if the file can't be read, isn't such a file, or holds what can't be.
    """
    expected = "expected NAME.npz as `smap-train looks` writes it"
    data = read_arrays(path, _FORMAT, "people by both looks", expected)
    people = len(np.atleast_1d(data.get("photo", ())))
    wanted = {name: ((people, *shape), np.float32) for name, shape in _SHAPES.items()}
    wanted["photo"] = ((people,), np.bool_)
    for name, (shape, kind) in wanted.items():
        got = data.get(name)
        if got is None or got.shape != shape or got.dtype != kind:
            found = "missing" if got is None else f"{got.dtype}{got.shape}"
            raise InputError(
                f"{path}: {name} is {found}, expected {kind.__name__}{shape}; {expected}"
            )
    if not people:
        raise InputError(f"{path} holds nobody")
    if not np.isfinite(data["given"]).all():
        row = int(np.argwhere(~np.isfinite(data["given"]))[0, 0])
        raise InputError(f"{path}: given of person {row} is no number; write the file anew")
    return LookedAt(**{name: data[name] for name in wanted}, found_by=who_found(data))


def look(
    bundle: str,
    scenes: Sequence[Scene],
    photos: Sequence[PhotoPerson],
    engine: str = "auto",
    mirrored: bool = False,
) -> LookedAt:
    """Run both looks of a bundle on pictures, and put its people beside what is known.

    Args:
        bundle: name or folder, of kind smap, with a second look.
        scenes: whose people are known.
        photos: of one labelled person each.
        engine: inference runtime.
        mirrored: look at every picture once more in a mirror: networks see another one.

    Raises:
        InputError: if it has no second look, or finds nobody.
    """
    loaded = load_bundle(bundle)
    if loaded.manifest.kind != "smap" or "second" not in loaded.manifest.files.entries:
        raise InputError(
            f"bundle {bundle} has no second look; expected one of kind smap with one, as smap_lite"
        )
    lacking = {"pose", "depth_spread"} - set(manifest_of(loaded, SmapManifest).outputs)
    if lacking:
        raise InputError(
            f"bundle {bundle} has no output {', '.join(sorted(lacking))}, which a fusing network "
            "is fed with; expected one that has, as smap_lite"
        )
    estimator = SmapEstimator.create(loaded, engine)
    try:
        ways = (False, True)[: 1 + mirrored]
        some = [
            _of_scene(estimator, in_mirror(scene) if turned else scene)
            for scene in tqdm(scenes, unit="img")
            for turned in ways
        ]
        some += [
            _of_photo(estimator, photo, turned)
            for photo in tqdm(photos, unit="photo")
            for turned in ways
        ]
    finally:
        estimator.close()
    found = [people for people in some if people is not None]
    if not found:
        raise InputError(
            f"{bundle} finds nobody at whom to look twice in the {len(some)} pictures; give others"
        )
    return replace(LookedAt.join(found), found_by=loaded.model_hash)


def _of_scene(estimator: SmapEstimator, scene: Scene) -> LookedAt | None:
    views = _views(estimator, scene.image(), scene.camera)
    if views is None:
        return None
    people = zip(views.closed_3d, views.closed_2d, views.closed_scores, strict=True)
    matches = match_by_pelvis([Body(*p, score=1.0) for p in people], scene.frame.bodies)
    if not matches:
        return None
    true = [scene.frame.bodies[t] for _, t in matches]
    pixels = np.array([body.joints_2d for body in true], np.float64)
    pixels[scene.visibility[[t for _, t in matches]] == 0] = np.nan
    chosen = views[[p for p, _ in matches]]
    joints = np.array([body.joints_3d for body in true])
    return of_known(chosen, joints, pixels, scene.camera)


def in_mirror(scene: Scene) -> Scene:
    """The scene as a mirror shows it, but for how its camera is mounted.

    Raises:
        InputError: if its camera has a lens, whose distortion would have to be mirrored as well.
    """
    camera = scene.camera
    if camera.distortion:
        raise InputError(f"{scene.key}: a picture with lens distortion can't be mirrored")
    mirrored = replace(camera, cx=camera.width - 1 - camera.cx)
    bodies = tuple(
        replace(
            body,
            joints_3d=body.joints_3d[MPI15.flip] * np.float32([-1, 1, 1]),
            joints_2d=_mirrored_pixels(body.joints_2d, camera.width),
            scores=body.scores[MPI15.flip],
        )
        for body in scene.frame.bodies
    )
    boxes = scene.boxes.copy()
    boxes[:, 0] = camera.width - boxes[:, 0] - boxes[:, 2]
    return replace(
        scene,
        frame=replace(scene.frame, bodies=bodies, camera=mirrored),
        visibility=scene.visibility[:, MPI15.flip],
        boxes=boxes,
        read=lambda: np.ascontiguousarray(scene.read()[:, ::-1]),
    )


def labels_in_mirror(photo: PhotoPerson, width: int) -> PhotoPerson:
    """What is known of a photo's person in a mirror; the photo itself stays."""
    joints = _mirrored_pixels(photo.joints_2d, width)
    return replace(photo, joints_2d=joints, depth=photo.depth[MPI15.flip])


def _mirrored_pixels(pixels: Float, width: int) -> Float:
    mirrored = pixels[MPI15.flip].copy()
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    return mirrored


def of_known(views: Views, joints_3d: Float, joints_2d: Double, camera: Camera) -> LookedAt:
    """People of whom everything is known: [N, 15, 3] metres, [N, 15, 2] pixels."""
    given, frames = fusing_input(views, camera)
    roots = frames.turned(joints_3d[:, ROOT, None].astype(np.float64))[:, 0]
    distance = np.linalg.norm(roots, axis=1)
    on_plane = roots[:, :2] / roots[:, 2:] * frames.distance[:, None]
    places = np.concatenate([on_plane, np.log(distance / frames.distance)[:, None]], axis=1)
    poses = frames.turned(joints_3d - joints_3d[:, ROOT, None])
    points = _within_reach(frames.on_plane(joints_2d, camera))
    return LookedAt(
        given, *(c.astype(np.float32) for c in (poses, places, points)), np.zeros(len(given), bool)
    )


def _of_photo(estimator: SmapEstimator, photo: PhotoPerson, mirrored: bool) -> LookedAt | None:
    image = photo.image()
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
        photo = labels_in_mirror(photo, image.shape[1])
    camera = guessed_camera(image.shape[1], image.shape[0])
    views = _views(estimator, image, camera)
    if views is None:
        return None
    labels = photo.joints_2d.astype(np.float64)
    away = np.linalg.norm(views.closed_2d[:, ROOT] - hips(labels), axis=1)
    near = np.flatnonzero(away < _NEAR * torso(labels))  # NaN is nobody
    if not len(near):
        return None
    nearest = near[np.argmin(away[near])]
    return of_photo(views[[nearest]], photo, camera)


def of_photo(views: Views, photo: PhotoPerson, camera: Camera) -> LookedAt:
    """The person of a photo.

    How far away they are isn't known: poses are as large as they are at the distance where the
    looks have them, their x and y are the labels', and depths the pseudo labels'.
    """
    given, frames = fusing_input(views, camera)
    labels = photo.joints_2d.astype(np.float64)[None]
    points = _within_reach(frames.on_plane(labels, camera))
    places = np.concatenate([points[:, ROOT], np.full((1, 1), np.nan)], axis=1)
    distance = frames.distance[:, None]
    # Depths are metres at the scale of the pseudo labels; the distance makes another.
    scale = distance / camera.fx / photo.metres_per_pixel
    depth = photo.depth.astype(np.float64)[None] * scale
    away = ((distance + depth) / distance)[..., None]
    poses = np.concatenate([points * away - points[:, ROOT, None], depth[..., None]], axis=-1)
    poses = np.where(np.isfinite(poses).all(axis=-1, keepdims=True), poses, np.nan)
    poses[:, ROOT] = 0 if np.isfinite(poses).any() else np.nan
    columns = (c.astype(np.float32) for c in (poses, places, points))
    return LookedAt(given, *columns, np.ones(1, np.bool_))


def _within_reach(points: Double) -> Double:
    return np.where((np.abs(points) < REACH).all(axis=-1, keepdims=True), points, np.nan)


def _views(estimator: SmapEstimator, image: NDArray[np.uint8], camera: Camera) -> Views | None:
    """The people who were looked at again; None without any."""
    looks = estimator.both_looks(image, camera)
    if looks is None or not looks.answered.any():
        return None
    return views_of(looks, estimator.as_one(looks, camera))


def run(
    bundle: Annotated[str, typer.Argument(help="Bundle with a second look: name or folder.")],
    out: Annotated[Path, typer.Argument(help="NAME.npz for recipe fusing.")],
    virtual: Annotated[
        list[Path] | None, typer.Option(help="Folder of shards from `smap-train synth`; repeat.")
    ] = None,
    sports: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Leeds Sports Pose Extended and its pseudo labels."),
    ] = None,
    street: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Clothing Co-Parsing photos and theirs.")
    ] = None,
    holdout: Annotated[
        int,
        typer.Option(min=0, help="Last sports photos left out; a fifth of it of the others."),
    ] = 500,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Look at each picture in a mirror, too.")
    ] = False,
    engine: Annotated[str, typer.Option(help="Inference runtime.")] = "auto",
) -> None:
    """Write people as a bundle's two looks have them, to train a fusing network on.

    Example: smap-train looks smap_lite looks.npz --virtual data/virtual
    """
    if out.suffix != ".npz":
        raise InputError(f"{out} ends in {out.suffix!r}; expected NAME.npz")
    scenes = [scene for folder in virtual or [] for scene in open_scenes(folder)]
    archives = [PhotoData(archive=a[0], pseudo=a[1]) if a else None for a in (sports, street)]
    photos = [photo for kind in open_photos(*archives, holdout) for photo in kind]
    if not scenes and not photos:
        raise InputError("no pictures: name --virtual, --sports or --street with somebody labelled")
    people = look(bundle, scenes, photos, engine, mirrored)
    people.save(out)
    typer.echo(f"{out}: {len(people)} people of {len(scenes) + len(photos)} pictures")
