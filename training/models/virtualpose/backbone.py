"""The network of VirtualPose that sees the image, and its twin that estimates depth.

Official name PoseDetResNet: a ResNet, transposed convolutions back to a quarter of the image's
size, and three heads. Module names give the official state-dict keys.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from smap_train.models.layers.resnet import ResNet
from smap_train.models.virtualpose.config import BOX_SIDES, JOINTS, flip_order


class PoseDetResNet(ResNet):
    """Joint heatmaps, box distances and root depth from an image or from heatmaps.

    Input: float32 [B, inputs, H, W], H and W multiples of 32; an image is RGB / 255, normalised
    with ImageNet's mean and standard deviation, officially 512 x 960.

    ``forward`` returns a dict, nothing of it passed through a sigmoid:

    - ``pose`` [B, joints, H/4, W/4]: heatmaps; in eval mode the mean of the image's and its
      mirror image's, unless ``flip_test`` is off;
    - ``bbox`` [B, 4, H/4, W/4]: distances from the root to the left, top, right and bottom side
      of the person's box, in map cells; always of the image alone;
    - ``depth`` [B, 1, H/4, W/4]: root depth in mm over the focal length in network-input
      pixels; always of the image alone.

    Args:
        depth: of the ResNet; 152 in the official checkpoints.
        joints: 17, or 15 in the Panoptic configuration.
        flip_test: average with the mirror image in eval mode, at twice the cost.
        head_width: channels of the transposed convolutions and heads.
        deconvolutions: number of transposed convolutions, each doubling the resolution.
        resnet: the other arguments of ``ResNet``.
    """

    def __init__(
        self,
        depth: int = 152,
        joints: int = len(JOINTS),
        *,
        flip_test: bool = True,
        head_width: int = 256,
        deconvolutions: int = 3,
        **resnet: Any,
    ) -> None:
        super().__init__(depth, **resnet)
        self.flip_test = flip_test
        self._flip = flip_order(joints)
        layers: list[nn.Module] = []
        for i in range(deconvolutions):
            inputs = self.width if i == 0 else head_width
            up = nn.ConvTranspose2d(inputs, head_width, 4, 2, 1, bias=False)
            layers += [up, nn.BatchNorm2d(head_width), nn.ReLU(inplace=True)]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(head_width, joints, 1)
        self.bbox = _head(head_width, BOX_SIDES)
        self.depth = _head(head_width, 1)
        for module in (*self.deconv_layers, self.final_layer, *self.bbox, *self.depth):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.001)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Predict; see the class."""
        if self.training or not self.flip_test:
            features = self.features(image)
            pose = self.final_layer(features)
        else:  # as one batch: faster on a GPU, and each weight stands once in an exported graph
            both = self.features(torch.cat([image, image.flip(-1)]))
            features = both[: len(image)]
            plain, mirrored = self.final_layer(both).chunk(2)
            partner = torch.tensor(self._flip, device=image.device)
            pose = (plain + mirrored.flip(-1).index_select(1, partner)) / 2
        return {"pose": pose, "bbox": self.bbox(features), "depth": self.depth(features)}

    def features(self, image: Tensor) -> Tensor:
        """What the heads see: [B, head_width, H/4, W/4]."""
        features: Tensor = self.deconv_layers(self.stages(self.stem(image))[-1])
        return features

    def depth_map(self, image: Tensor) -> Tensor:
        """The depth head alone."""
        depth: Tensor = self.depth(self.features(image))
        return depth

    def depth_and_sides(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The depth and box heads."""
        features = self.features(image)
        return self.depth(features), self.bbox(features)


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1),
    )
