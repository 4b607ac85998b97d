"""Whether the learned smoother knows the detector whose people come."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from smap_ros.bundles.manifest.smoother import SmootherManifest
from smap_ros.errors import SmapError
from smap_ros.temporal.options import SmootherConfig
from smap_ros.temporal.smoothers import AUTO


@dataclass(frozen=True)
class Learned:
    """The learned smoother that settings name.

    Attributes:
        manifest: of its bundle; None where there is none, or where it isn't asked for.
    """

    manifest: SmootherManifest | None

    @classmethod
    def of(cls, config: SmootherConfig) -> Learned:
        """What settings name. ``auto`` does without a bundle that can't be used.

        Raises:
            BundleError: if ``maed`` is asked for and its bundle can't be used.
        """
        if config.smoother not in (AUTO, "maed"):
            return cls(None)
        try:
            return cls(_manifest(config.smoother_bundle))
        except SmapError:
            if config.smoother == AUTO:
                return cls(None)
            raise

    def wins(self, detector: str) -> Collection[int]:
        """Delays at which it is the best for a detector's people: none, if it doesn't know it."""
        if self.manifest is None or self.manifest.detector_sha256 != detector:
            return ()
        return self.manifest.wins

    def problem(self, detector: str) -> str:
        """What to say of its use for a detector's people; empty if it knows how that one errs."""
        manifest = self.manifest
        if manifest is None or not detector or manifest.detector_sha256 == detector:
            return ""
        return (
            f"{manifest.name} learned how {manifest.detector} "
            f"({manifest.detector_sha256[:12]}) errs, these people are found by another network "
            f"({detector[:12]}); smoother auto takes a filter"
        )


@cache
def _manifest(bundle: str) -> SmootherManifest:
    # Reading bundles needs numpy and onnx's checks: not for those who only name settings.
    from smap_ros.bundles.bundle import load_bundle
    from smap_ros.temporal.smoothers.maed import smoother_manifest

    return smoother_manifest(load_bundle(bundle))
