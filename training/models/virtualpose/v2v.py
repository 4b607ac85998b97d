"""V2V: an encoder-decoder over voxels.

Moon et al., "V2V-PoseNet", CVPR 2018, in the smaller form of VoxelPose and VirtualPose. Module
names give the official state-dict keys.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*_conv(inputs, outputs, kernel), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, X, Y, Z] -> [B, outputs, X, Y, Z]."""
        y: Tensor = self.block(x)
        return y


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.res_branch = nn.Sequential(
            *_conv(inputs, outputs, 3), nn.ReLU(inplace=True), *_conv(outputs, outputs, 3)
        )
        self.skip_con = (
            nn.Sequential() if inputs == outputs else nn.Sequential(*_conv(inputs, outputs, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, X, Y, Z] -> [B, outputs, X, Y, Z]."""
        return F.relu(self.res_branch(x) + self.skip_con(x), inplace=True)


class Upsample(nn.Module):
    """Transposed convolution that doubles the resolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose3d(inputs, outputs, 2, 2),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, X, Y, Z] -> [B, outputs, 2X, 2Y, 2Z]."""
        y: Tensor = self.block(x)
        return y


class EncoderDecoder(nn.Module):
    """Two levels down and up, with skips that are added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder_res1 = ResidualBlock(width, 2 * width)
        self.encoder_res2 = ResidualBlock(2 * width, 4 * width)
        self.mid_res = ResidualBlock(4 * width, 4 * width)
        self.decoder_res2 = ResidualBlock(4 * width, 4 * width)
        self.decoder_upsample2 = Upsample(4 * width, 2 * width)
        self.decoder_res1 = ResidualBlock(2 * width, 2 * width)
        self.decoder_upsample1 = Upsample(2 * width, width)
        self.skip_res1 = ResidualBlock(width, width)
        self.skip_res2 = ResidualBlock(2 * width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, X, Y, Z] -> the same shape; X, Y, Z multiples of 4."""
        half = self.encoder_res1(F.max_pool3d(x, 2))
        quarter = self.encoder_res2(F.max_pool3d(half, 2))
        quarter = self.decoder_res2(self.mid_res(quarter))
        half = self.decoder_res1(self.decoder_upsample2(quarter) + self.skip_res2(half))
        full: Tensor = self.decoder_upsample1(half) + self.skip_res1(x)
        return full


class V2VNet(nn.Module):
    """Voxels of features to voxels of scores; no activation at the end.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        width: channels at full resolution; 32 officially.
        kernel: edge of the first convolution; 7 officially.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 32, kernel: int = 7) -> None:
        super().__init__()
        self.front_layers = nn.Sequential(
            ConvBlock(inputs, width // 2, kernel), ResidualBlock(width // 2, width)
        )
        self.encoder_decoder = EncoderDecoder(width)
        self.output_layer = nn.Conv3d(width, outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, X, Y, Z] -> [B, outputs, X, Y, Z]; X, Y, Z multiples of 4."""
        y: Tensor = self.output_layer(self.encoder_decoder(self.front_layers(x)))
        return y


def _conv(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm3d(outputs)
