"""What ``import smap_ros`` gives: few names, documented, imported when they are used."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys

import pytest

import smap_ros
from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.camera import Camera
from smap_ros.estimators.factory import create_estimator
from smap_ros.sources import open_source

NAMES = {
    "Body": Body,
    "BodyFrame": BodyFrame,
    "Camera": Camera,
    "create_estimator": create_estimator,
    "load_bundle": load_bundle,
    "open_source": open_source,
}
# Modules of the public names whose docstrings have examples.
DOCUMENTED = ("smap_ros", "smap_ros.bodies", "smap_ros.bundles.bundle", "smap_ros.sources")


def test_the_public_names_are_those_of_the_rooms():
    assert set(smap_ros.__all__) == {*NAMES, "__version__"}
    assert {name: getattr(smap_ros, name) for name in NAMES} == NAMES
    assert set(smap_ros.__all__) <= set(dir(smap_ros))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Person'"):
        smap_ros.Person  # noqa: B018
    with pytest.raises(ImportError, match="Person"):
        importlib.import_module("smap_ros.Person")


LAZY = """
import json, sys
before = set(sys.modules)
import smap_ros
new = {name for name in set(sys.modules) - before if sys.modules[name] is not None}
new = sorted(name for name in new if name.partition(".")[0] != "smap_ros")
from smap_ros import Camera
assert Camera.__module__ == "smap_ros.camera" and "smap_ros.estimators" not in sys.modules
from smap_ros import *
assert callable(create_estimator) and smap_ros.Camera is Camera
sys.stdout.write(json.dumps(new))
"""


def test_importing_the_package_imports_nothing_else(child_environment):
    done = subprocess.run(
        [sys.executable, "-c", LAZY], capture_output=True, text=True, env=child_environment
    )
    assert done.returncode == 0, done.stderr
    imported = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("name", NAMES)
def test_public_names_are_documented(name):
    assert len((getattr(smap_ros, name).__doc__ or "").strip()) > 20


@pytest.mark.parametrize("module", DOCUMENTED)
def test_examples_in_the_docstrings_are_true(module):
    result = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted > 0, f"{module} has no examples"
    assert result.failed == 0
