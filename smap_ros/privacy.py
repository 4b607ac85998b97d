"""Nothing leaves the machine: the libraries' own reports to their makers are off.

Imported before anything else by :mod:`smap_ros`, and so by nodes, commands and training.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def keep_private() -> None:
    """Switch off what the runtimes would store about this machine and send away.

    - ONNX Runtime keeps a device id and an event store below the cache folder and uploads from it,
      unless its variable says no; it looks only when it is imported.
    - Ray reports the use of a cluster that it starts, unless its variable says no.
    - OpenVINO sends an event at each import through the package openvino_telemetry, in a process
      of its own, with an id below the home folder. Without that package it takes a stub: the
      package is made to look uninstalled, which leaves nothing in the user's home, as its own
      opt-out file would.

    Child processes inherit the variables and, once they import smap_ros, do the second.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    absent: Any = None
    sys.modules.setdefault("openvino_telemetry", absent)
    runtime = sys.modules.get("onnxruntime")  # somebody imported it before us
    if runtime is not None and hasattr(runtime, "disable_telemetry_events"):
        runtime.disable_telemetry_events()
