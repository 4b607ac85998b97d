"""What all models share that look at people whom another bundle finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import INFERRED_SCORE, Body, BodyFrame, Mesh
from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest import MANIFEST
from smap_ros.bundles.manifest.common import CropManifest
from smap_ros.engines import Engine, create_engine
from smap_ros.engines.further import open_further
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.errors import BundleError
from smap_ros.estimators.base import (
    FIRST,
    Estimator,
    Float,
    Image,
    ModelInfo,
    OutputCheck,
    StageTimer,
)
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.factory import create_estimator
from smap_ros.estimators.options import StageOptions
from smap_ros.estimators.persons.crops import Crop
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.smap.lifting import NO_ROOT
from smap_ros.skeletons import MPI15, Skeleton, convert, get_skeleton

NO_BOX = "no_box"  # reason under which people are counted of whom there is no crop


Kind = TypeVar("Kind", bound=CropManifest)
Config = TypeVar("Config", bound=StageOptions)
Own = TypeVar("Own", bound="SecondStage[Any, Any]")


class SecondStage(Generic[Kind, Config]):
    """An estimator that has a network of its own behind another estimator.

    A kind states its manifest, its settings, and the roles of the networks that it has beside
    ``model``; its constructor takes those by their roles.

    Args:
        bundle: of the network that looks at people.
        engine: its network, loaded.
        first_stage: finds the people.
        config: settings.

    Raises:
        BundleError: if the bundle is of another kind.
    """

    skeleton: Skeleton = MPI15
    _manifest_type: type[Kind]
    _config_type: type[Config]
    _further_networks: tuple[str, ...] = ()

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        first_stage: Estimator,
        config: Config | None = None,
    ) -> None:
        self._manifest = manifest_of(bundle, self._manifest_type)
        self.config = config or self._config_type()
        self._engine = engine
        self._first_stage = first_stage
        self._joints = get_skeleton(self._manifest.joint_set)
        self._normaliser = Normaliser(self._manifest.input)
        self._check = OutputCheck()
        any_number = all(spec.shape[0] is None for spec in engine.inputs)
        self._batch = self.config.max_batch if any_number else 1

    @classmethod
    def create(
        cls: type[Own],
        bundle: Bundle,
        engine: str = "auto",
        threads: int = 0,
        precision: Precision = "f32",
        *,
        gpu: GpuOptions | None = None,
        **options: Any,
    ) -> Own:
        """Load both stages; see :func:`smap_ros.estimators.create_estimator`.

        Options that are not fields of this estimator's settings go to the first stage.
        """
        config, others = split_options(cls._config_type, options)
        named = manifest_of(bundle, cls._manifest_type).first_stage
        first = first_stage_bundle(bundle, named, config.first_stage)
        common = engine, threads, precision
        with ExitStack() as opened:  # closed again when a later step fails
            batch: dict[str, Any] = {"gpu": gpu, "rows": config.max_batch}
            network = opened.enter_context(closing(create_engine(bundle, *common, **batch)))
            finder = opened.enter_context(
                closing(create_estimator(first, *common, gpu=gpu, **others))
            )
            further = {
                role: opened.enter_context(
                    closing(open_further(bundle, role, network, *common[1:], **batch))
                )
                for role in cls._further_networks
            }
            estimator = cls(bundle, network, first_stage=finder, config=config, **further)
            opened.pop_all()
        return estimator

    @property
    def about(self) -> ModelInfo:
        """Bundle, first stage, engine and device."""
        return ModelInfo.of(self._manifest, self._engine, self._first_stage.about)

    @property
    def description(self) -> str:
        """The same in words."""
        return str(self.about)

    def close(self) -> None:
        """Release both stages; harmless when done twice."""
        self._engine.close()
        self._first_stage.close()

    def _blob(self, image: Image, crops: list[Crop]) -> Float:
        """The network's image input for all crops, float32 [N, 3, size, size]."""
        blob = np.empty((len(crops), *self._manifest.input.shape[1:]), np.float32)
        for k, crop in enumerate(crops):
            blob[k] = self._normaliser(crop.apply(image))[0]
        return blob

    def _run(self, blob: Float, further: Mapping[str, Float] | None = None) -> dict[str, Float]:
        """The network's outputs for any number of crops.

        Args:
            blob: float32 [N, 3, size, size].
            further: the network's other inputs by name, float32 [N, ...].

        Returns:
            The manifest's outputs by role, float32 [N, ...].
        """
        inputs = {self._manifest.input.name: blob, **(further or {})}
        outputs = self._manifest.outputs
        whole = {
            role: np.empty((len(blob), *output.shape[1:]), np.float32)
            for role, output in outputs.items()
        }
        for k in range(0, len(blob), self._batch):
            part = slice(k, k + self._batch)
            given = self._engine.run({name: array[part] for name, array in inputs.items()})
            for role, output in outputs.items():
                whole[role][part] = given[output.name]
        return whole


def split_options(
    schema: type[Config], options: Mapping[str, Any]
) -> tuple[Config, dict[str, Any]]:
    """A second stage's settings, and the options that are the first stage's.

    Args:
        schema: of the second stage; options that are not fields of it are for the first.
        options: by name.

    Raises:
        InputError: if one of its own is out of range.
    """
    own = {name: value for name, value in options.items() if name in schema.model_fields}
    return schema(**own), {name: value for name, value in options.items() if name not in own}


def first_stage_bundle(bundle: Bundle, first_stage: str, stated: str | None) -> Bundle:
    """The bundle that finds the people: as stated, else beside this one, else a shipped one.

    Raises:
        BundleError: if there is none, or it needs a first stage itself.
    """
    beside = bundle.folder.parent / first_stage
    found = beside if (beside / MANIFEST).is_file() else first_stage
    first = load_bundle(found if stated is None else stated)
    if isinstance(first.manifest, CropManifest):
        raise BundleError(
            f"bundle {first.name!r} can't find people for bundle {bundle.name!r}: it is of kind "
            f"{first.kind!r} and needs a first stage too; choose one that looks at whole images, "
            "like smap_lite"
        )
    return first


def with_joints(
    person: Body,
    points: NDArray[np.floating],
    pixels: NDArray[np.floating],
    placed: NDArray[np.bool_],
    mesh: Mesh | None = None,
) -> Body:
    """A person with the joints of a network that says nothing of its certainty.

    Args:
        person: as the first stage found it.
        points: float [15, 3], metres, in the working set.
        pixels: float [15, 2], of the image.
        placed: bool [15], joints that the network gives; the others become missing.
        mesh: the person's surface.

    Returns:
        The person with the first stage's scores: of a joint that it did not see,
        ``INFERRED_SCORE``.
    """
    seen = np.nan_to_num(convert(person.scores[:, None], person.skeleton, MPI15)[:, 0])
    scores = np.where(placed, np.where(seen > 0, seen, INFERRED_SCORE), 0)
    return Body(
        np.where(placed[:, None], points, np.nan).astype(np.float32),
        np.where(placed[:, None], pixels, np.nan).astype(np.float32),
        scores.astype(np.float32),
        person.score,
        person.id,
        mesh=mesh,
    )


def nearest_first(bodies: Iterable[Body | None], dropped: Counter[str]) -> tuple[Body, ...]:
    """People that could be placed, nearest first; the others are counted in ``dropped``."""
    placed = []
    for body in bodies:
        if body is not None and np.isfinite(body.root).all():
            placed.append(body)
        else:
            dropped[NO_ROOT] += 1
    return tuple(sorted(placed, key=lambda body: float(body.root[2])))


def timings_of_both(found: BodyFrame, timer: StageTimer) -> dict[str, float]:
    """Milliseconds by stage, those of the first estimator named ``first_...``."""
    return {f"{FIRST}{stage}": ms for stage, ms in found.timings_ms.items()} | timer.ms
