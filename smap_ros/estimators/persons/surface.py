"""Surfaces of people: their triangles, and the way from a crop's camera to metres before ours.

Networks that look at a crop place the body before a camera of their own: focal length F in
crop pixels, principal point in the middle of the crop, far away. So they tell where the root is
seen, how large the body appears, and how it is turned against the ray that it is seen along;
that is what :meth:`CropCamera.place` keeps:

- the root at (x, y, z) is seen at crop pixel (F x / z + S / 2, F y / z + S / 2), S being the
  size of the crop in pixels, which belongs to a pixel of the image and a ray (X, Y, 1);
- its depth is Z = z (f / F) (S / s), f being the focal length and s the side of the crop in
  pixels of the image: there a metre is as many pixels long as the network says. (For f = F it is
  how the official code of 3DCrowdNet draws its meshes into the whole image.) Where a lens shows
  people smaller or larger than a pinhole would, by the factor that :func:`shown_size` tells, so
  much nearer or farther are they.
- the root comes to Z (X, Y, 1), and the body about it is turned as the optical axis must be
  turned to become the ray: in a crop, depth points away along the ray.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, Mesh
from smap_ros.bundles.bundle import Bundle
from smap_ros.camera import Camera
from smap_ros.errors import BundleError
from smap_ros.estimators.persons.crops import Crop
from smap_ros.estimators.persons.second_stage import with_joints
from smap_ros.estimators.smap.lens import shown_size
from smap_ros.skeletons import MPI15, Skeleton, convert

Double = NDArray[np.float64]

FACES_ROLE = "faces"


def read_faces(bundle: Bundle, vertices: int) -> NDArray[np.int32]:
    """The triangles of a bundle's surface, from the file of role ``faces``.

    Args:
        bundle: its file is checked against its sha256.
        vertices: how many the surface has.

    Returns:
        int32 [F, 3], indices of each triangle's corners; read-only.

    Raises:
        BundleError: if the file is missing, altered, no such array, or names other vertices.
    """
    try:
        faces = np.load(io.BytesIO(bundle.read(FACES_ROLE)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BundleError(
            f"the faces of bundle {bundle.name!r} can't be read as an .npy array ({error}); "
            "export the bundle again"
        ) from error
    fits = (
        isinstance(faces, np.ndarray)
        and faces.dtype.kind in "iu"
        and faces.ndim == 2
        and faces.shape[1] == 3
        and len(faces) > 0
    )
    if not fits or faces.min() < 0 or faces.max() >= vertices:
        got = f"{faces.dtype}{list(faces.shape)}" if isinstance(faces, np.ndarray) else "an archive"
        raise BundleError(
            f"the faces of bundle {bundle.name!r} are {got}; expected integers [F, 3] from 0 to "
            f"{vertices - 1}. Its files don't belong together; export the bundle again"
        )
    triangles: NDArray[np.int32] = faces.astype(np.int32)
    triangles.flags.writeable = False  # all people share it
    return triangles


@dataclass(frozen=True)
class CropCamera:
    """The camera before which a network places the person of a crop.

    Attributes:
        focal: in pixels of the crop.
        size: width and height of the crop in pixels; the principal point is in the middle.
    """

    focal: float
    size: int

    def project(self, points: NDArray[np.floating]) -> Double:
        """Crop pixels of points before this camera: [..., 3], metres -> float64 [..., 2].

        NaN for points at or behind the camera.
        """
        points = np.asarray(points, dtype=np.float64)
        depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        pixels: Double = points[..., :2] / depth * self.focal + self.size / 2
        return pixels

    def place(
        self,
        points: NDArray[np.floating],
        root: NDArray[np.floating],
        crop: Crop,
        camera: Camera,
        shown: float = 1.0,
    ) -> Double:
        """Points of a person before the camera of the whole image.

        See the top of this file for the mathematics.

        Args:
            points: float [N, 3], metres before this camera.
            root: float [3], the person's root joint there.
            crop: what the network saw.
            camera: of the whole image.
            shown: how large the person is in the image, beside how large without its lens.

        Returns:
            float64 [N, 3], metres, optical frame; NaN when the root can't be placed: it lies
            behind this camera, or where the lens can't be undone.
        """
        points, root = np.asarray(points, np.float64), np.asarray(root, np.float64)
        pixel = crop.to_image(self.project(root))
        ray = camera.back_project(pixel, np.array(1.0))
        depth = root[2] * (camera.fx + camera.fy) / 2 / self.focal * crop.scale * shown
        placed: Double = (points - root) @ turn_to(ray).T + depth * ray
        return placed


@dataclass(frozen=True)
class Surface:
    """What a network gives of each person, brought before the camera of the whole image.

    Attributes:
        skeleton: the network's joint set.
        faces: int32 [F, 3], see :func:`read_faces`.
        camera: before which the network places people.
    """

    skeleton: Skeleton
    faces: NDArray[np.int32]
    camera: CropCamera

    def body(
        self,
        person: Body,
        crop: Crop,
        joints: NDArray[np.floating],
        vertices: NDArray[np.floating],
        camera: Camera,
    ) -> Body:
        """A person in metres; ``joints_2d`` are where the network sees the joints in the crop.

        Args:
            person: as the first stage found it.
            crop: what the network saw.
            joints: float [J, 3], metres before the crop's camera.
            vertices: float [V, 3], likewise.
            camera: of the whole image.

        Returns:
            In the working set, with its mesh; joints that can't be placed are missing.
        """
        everything = np.concatenate([joints, vertices])
        root = joints[self.skeleton.root]
        seen_at = crop.to_image(self.camera.project(joints))
        shown = _shown(seen_at, camera)
        placed = self.camera.place(everything, root, crop, camera, shown).astype(np.float32)
        points = convert(placed[: len(joints)], self.skeleton, MPI15)
        pixels = convert(seen_at, self.skeleton, MPI15)
        good = np.isfinite(points).all(axis=1) & np.isfinite(pixels).all(axis=1)
        good &= points[:, 2] > 0
        mesh = Mesh(placed[len(joints) :], self.faces)
        return with_joints(person, points, pixels, good, mesh)


def _shown(pixels: NDArray[np.floating], camera: Camera) -> float:
    """:func:`shown_size` of one person's joints [J, 2], by those that are inside the image."""
    points = np.asarray(pixels[None], np.float64)
    low, high = np.array([-0.5, -0.5]), np.array([camera.width, camera.height]) - 0.5
    with np.errstate(invalid="ignore"):
        inside = np.all((points >= low) & (points < high), axis=-1)
    return float(shown_size(points, inside, camera)[0])


def turn_to(ray: Double) -> Double:
    """The smallest rotation that turns the optical axis to a ray in front of the camera.

    Args:
        ray: float64 [3], of any length, z > 0.

    Returns:
        float64 [3, 3].
    """
    x, y, z = ray / np.linalg.norm(ray)
    # Rodrigues' formula about the axis (0, 0, 1) x ray = (-y, x, 0) / sin of the angle.
    skew = np.array([[0, 0, x], [0, 0, y], [-x, -y, 0]])
    rotation: Double = np.eye(3) + skew + skew @ skew / (1 + z)
    return rotation
