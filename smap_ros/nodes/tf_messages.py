"""The message of TF, where it is installed: with a ROS distribution; PyPI has no wheel."""

from __future__ import annotations

from typing import Any

try:
    from tf2_msgs import msg as _messages

    TFMessage: Any = _messages.TFMessage
except ImportError:
    TFMessage = None
