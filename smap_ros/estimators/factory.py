"""Estimators by the kind of their bundle."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.errors import BundleError
from smap_ros.estimators.base import Estimator
from smap_ros.estimators.mounted import with_mounting
from smap_ros.estimators.options import ImageUp, ModelChoice, MountingOptions
from smap_ros.estimators.square_pixels import with_square_pixels
from smap_ros.estimators.upright import roll_when_upright, with_upright_images

# Kind of bundle -> module and class; a new kind of model adds a line. Imported when used.
_ESTIMATORS = {
    "mesh": ("smap_ros.estimators.persons.mesh", "MeshEstimator"),
    "smap": ("smap_ros.estimators.smap.estimator", "SmapEstimator"),
    "topdown": ("smap_ros.estimators.persons.topdown", "TopdownEstimator"),
    "video": ("smap_ros.estimators.persons.video", "VideoEstimator"),
    "virtualpose": ("smap_ros.estimators.virtualpose", "VirtualPoseEstimator"),
}

_ROLL = "camera_roll_deg"  # an option of those kinds that want to know how cameras are mounted


def create_estimator(
    bundle: Bundle | str | Path,
    engine: str = "auto",
    threads: int = 0,
    precision: Precision = "f32",
    image_up: ImageUp = "auto",
    *,
    gpu: GpuOptions | None = None,
    **options: Any,
) -> Estimator:
    """Load a bundle into the estimator of its kind, warm.

    Args:
        bundle: a loaded bundle, or the name or path of one.
        engine, threads, precision, gpu: see :func:`smap_ros.engines.create_engine`.
        image_up: which side of images is up; see :mod:`smap_ros.estimators.upright`.
        options: settings of its kind, see :mod:`smap_ros.estimators.options`.

    Raises:
        BundleError: if the bundle is missing, damaged or contradicts its network.
        EngineError: if no runtime can run it.
        InputError: if an option is unknown or out of range.
    """
    bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    if bundle.kind not in _ESTIMATORS:
        raise BundleError(
            f"bundle {bundle.name!r} is of kind {bundle.kind!r}, which has no estimator; "
            f"expected one of {', '.join(_ESTIMATORS)}"
        )
    module, name = _ESTIMATORS[bundle.kind]
    create: Callable[..., Estimator] = getattr(importlib.import_module(module), name).create
    roll, roll_deg = options.get(_ROLL), 0.0
    # The network's images are turned, and their camera with them.
    if not isinstance(roll, bool) and isinstance(roll, Real):
        roll_deg = float(roll)
        options[_ROLL] = roll_when_upright(roll_deg, image_up)
    mounting = _stated_mounting(bundle, options)
    common = {"engine": engine, "threads": threads, "precision": precision, "gpu": gpu}
    estimator = with_mounting(create(bundle, **common, **options), mounting)
    return with_square_pixels(with_upright_images(estimator, image_up, roll_deg))


def _stated_mounting(bundle: Bundle, options: dict[str, Any]) -> MountingOptions:
    """How cameras are mounted, as a model is told that takes a floor; out of its options.

    Models that search people above a floor take these themselves, and others refuse them.
    """
    if not (isinstance(bundle.manifest, SmapManifest) and options.get("on_floor") is True):
        return MountingOptions()
    names = [name for name in MountingOptions.model_fields if name in options]
    return MountingOptions(**{name: options.pop(name) for name in names})


def create_chosen(
    choice: ModelChoice,
    bundle: Bundle | None = None,
    *,
    live: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Estimator:
    """The estimator that a user chose; see :func:`create_estimator`.

    Args:
        choice: the model and its options.
        bundle: the chosen bundle, where it is loaded already.
        live: images don't wait: budgets of time that aren't stated are the bundle's. Otherwise
            there are none, so that what is found doesn't depend on how fast a machine is.
        progress: see :class:`smap_ros.engines.names.GpuOptions`.
    """
    model = choice.model
    bundle = bundle or load_bundle(model.bundle)
    options = dict(choice.options)
    if live and isinstance(bundle.manifest, SmapManifest) and bundle.manifest.second_look:
        options.setdefault("second_look_budget", bundle.manifest.second_look.budget_ms)
    return create_estimator(
        bundle,
        engine=model.engine,
        threads=model.threads,
        precision=model.precision,
        image_up=model.image_up,
        gpu=replace(model.gpu_options, progress=progress),
        **options,
    )
