"""`python -m smap_ros.nodes MODULE ARGUMENTS` runs a node, as the launcher does.

An interrupt while its libraries are being imported ends the process at once and without a
traceback; from then on ROS takes it.
"""

import importlib
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
# The launcher holds it back while Python itself starts.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

if __name__ == "__main__":
    module = sys.argv.pop(1)
    sys.exit(importlib.import_module(module).main())
