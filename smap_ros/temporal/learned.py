"""Whether what learned to smooth knows the people who come: a network, or an image-based model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from smap_ros.bundles.manifest.smoother import SmootherManifest
from smap_ros.bundles.manifest.video import VideoManifest
from smap_ros.errors import BundleError, SmapError
from smap_ros.skeletons import SKELETONS
from smap_ros.temporal.options import SmootherConfig
from smap_ros.temporal.smoothers import AUTO, IMAGE_BASED


@dataclass(frozen=True)
class Learned:
    """The learned smoother that settings name.

    Attributes:
        manifest: of its bundle; None where there is none, or where it isn't asked for.
        video: of the image-based model that smooths instead, which the pose node runs.
        unusable: why ``auto`` does without the bundle that settings name; empty if it needn't.
    """

    manifest: SmootherManifest | None
    video: VideoManifest | None = None
    unusable: str = ""

    @classmethod
    def of(cls, config: SmootherConfig) -> Learned:
        """What settings name. ``auto`` does without a bundle that can't be used.

        Raises:
            BundleError: if ``maed`` or ``maed_video`` is asked for and its bundle can't be used.
        """
        if config.smoother == IMAGE_BASED:
            return cls(None, _video(config.smoother_bundle))
        if config.smoother not in (AUTO, "maed"):
            return cls(None)
        try:
            return cls(_manifest(config.smoother_bundle))
        except SmapError as error:
            if config.smoother == AUTO:
                return cls(None, unusable=f"smoother auto takes a filter: {error}")
            raise

    def wins(self, detector: str, joints: int = 0) -> Collection[int]:
        """Delays at which it is the best for a detector's people: none, if it doesn't know it.

        People of other than its ``joints`` (0: unknown) aren't that detector's.
        """
        if self.manifest is None or not self.manifest.knows(detector):
            return ()
        if joints not in (0, len(SKELETONS[self.manifest.joint_set])):
            return ()
        return self.manifest.wins

    def problem(self, detector: str) -> str:
        """What to say of its use for a detector's people; empty if it knows how that one errs."""
        if self.video is not None:
            own = self.video.files.model.sha256
            if not detector or detector == own:
                return ""
            return (
                f"{self.video.name} ({own[:12]}) is to find smooth people in the images, but these "
                f"are found by another network ({detector[:12]}) and stay as they are; run the "
                f"pose node with bundle:={self.video.name}, or take smoother auto"
            )
        manifest = self.manifest
        if manifest is None or not detector or manifest.knows(detector):
            return ""
        return (
            f"{manifest.name} learned how {manifest.detector} "
            f"({manifest.detector_sha256[:12]}) errs, these people are found by another network "
            f"({detector[:12]}); smoother auto takes a filter"
        )


def _manifest(bundle: str) -> SmootherManifest:
    # Reading bundles needs numpy and onnx's checks: not for those who only name settings.
    from smap_ros.bundles.bundle import load_bundle
    from smap_ros.temporal.smoothers.maed import smoother_manifest

    return smoother_manifest(load_bundle(bundle))


def _video(bundle: str) -> VideoManifest:
    """The manifest of a model of kind ``video``.

    Raises:
        BundleError: if the bundle is none.
    """
    from smap_ros.bundles.bundle import load_bundle

    loaded = load_bundle(bundle)
    if not isinstance(loaded.manifest, VideoManifest):
        raise BundleError(
            f"smoother {IMAGE_BASED} is the image-based MAED, a bundle of kind video, but "
            f"smoother_bundle {loaded.name!r} is of kind {loaded.kind!r}. Make one of the official "
            "checkpoint (smap-train convert maed, smap-train export), and give it to the pose node "
            "(bundle) and as smoother_bundle; smoother maed needs no images"
        )
    return loaded.manifest
