"""How people are put together from a network's maps, as a bundle and its user want it."""

from __future__ import annotations

from dataclasses import fields, replace

from smap_ros.association import AssociationConfig
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators.options import SmapConfig


def association_config(manifest: SmapManifest, config: SmapConfig) -> AssociationConfig:
    """The settings of association: the bundle's, and over these the user's.

    Raises:
        BundleError: if one of either isn't known or out of range.
    """
    overrides = {**manifest.association, **config.association_settings}
    known = {f.name for f in fields(AssociationConfig)} - {"stride"}
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise BundleError(
            f"association settings {unknown} of bundle {manifest.name!r} or the options are "
            f"unknown; expected some of {', '.join(sorted(known))}"
        )
    try:
        return replace(AssociationConfig(stride=manifest.stride), **overrides)
    except (InputError, TypeError) as error:
        raise BundleError(
            f"association settings of bundle {manifest.name!r} or the options: {error}"
        ) from error
