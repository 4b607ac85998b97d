"""What ``bundle.yaml`` may say: one schema for each kind of model.

Unknown keys are refused: a misspelt threshold must not silently become a default.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from smap_ros.bundles.manifest.common import FileEntry, Manifest
from smap_ros.bundles.manifest.mesh import MeshManifest
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.bundles.manifest.smoother import SmootherManifest
from smap_ros.bundles.manifest.topdown import TopdownManifest
from smap_ros.bundles.manifest.video import VideoManifest
from smap_ros.bundles.manifest.virtualpose import VirtualPoseManifest
from smap_ros.errors import BundleError

__all__ = ["MANIFEST", "MANIFESTS", "FileEntry", "Manifest", "parse_manifest"]

MANIFEST = "bundle.yaml"

# kind -> its manifest; a new kind of model adds a line here and, if it sees images, one in
# estimators/factory.py.
MANIFESTS: dict[str, type[Manifest]] = {
    "smap": SmapManifest,
    "virtualpose": VirtualPoseManifest,
    "topdown": TopdownManifest,
    "mesh": MeshManifest,
    "video": VideoManifest,
    "smoother": SmootherManifest,
}


def parse_manifest(data: Mapping[str, Any], source: str = MANIFEST) -> Manifest:
    """Validate the content of a manifest.

    Raises:
        BundleError: naming each wrong field, what it holds and what is expected.
    """
    kind = data.get("kind")
    model = MANIFESTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise BundleError(f"{source}: kind is {kind!r}; expected one of {', '.join(MANIFESTS)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise BundleError(f"{source} is not valid: {_describe(error)}") from error


def _describe(error: ValidationError) -> str:
    """Pydantic's findings in our words: field, what was got, what to do."""
    findings = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "bundle"
        if item["type"] == "extra_forbidden":
            findings.append(f"{where}: unknown key; remove it or correct its spelling")
        elif item["type"] == "missing":
            findings.append(f"{where}: missing; add it")
        else:
            got = "" if isinstance(item["input"], dict) else f"got {_brief(item['input'])}; "
            findings.append(f"{where}: {got}{item['msg'].removeprefix('Value error, ')}")
    return "; ".join(findings)


def _brief(value: Any) -> str:
    """A value for people; of lists in lists, which YAML's aliases make endless, the beginning."""
    words = reprlib.Repr()
    words.maxstring = words.maxother = words.maxlong = 80
    try:
        return f"{words.repr(value):.80}"
    except ValueError:
        return "a number of thousands of digits"  # which Python doesn't write out
