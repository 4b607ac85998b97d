"""VPoser, a learned space of likely body poses.

Pavlakos et al., "Expressive Body Capture: 3D Hands, Face, and Body from a Single Image", CVPR
2019; version 1. Its weights are licensed to each user personally (https://smpl-x.is.tue.mpg.de)
and are part of 3DCrowdNet's official checkpoints.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_train.models.checkpoint import is_state_dict, mismatches, read_untrusted
from smap_train.models.layers.rotations import IDENTITY_6D, matrix_to_axis_angle, rot6d_to_matrix

BODY_JOINTS, LATENT = 21, 32  # SMPL's joints without root and hands
ROT6D_EPS = 1e-12  # of 3DCrowdNet's and VPoser's normalisation
_HIDDEN, _SLOPE = 512, 0.2


class VPoserWeights(nn.Module):
    """VPoser v1 under the names of its own files.

    The encoder is only kept, so that official checkpoints fit: 3DCrowdNet uses the decoder.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs, outputs = 3 * BODY_JOINTS, 6 * BODY_JOINTS
        self.bodyprior_enc_bn1 = nn.BatchNorm1d(inputs)
        self.bodyprior_enc_fc1 = nn.Linear(inputs, _HIDDEN)
        self.bodyprior_enc_bn2 = nn.BatchNorm1d(_HIDDEN)
        self.bodyprior_enc_fc2 = nn.Linear(_HIDDEN, _HIDDEN)
        self.bodyprior_enc_mu = nn.Linear(_HIDDEN, LATENT)
        self.bodyprior_enc_logvar = nn.Linear(_HIDDEN, LATENT)
        self.bodyprior_dec_fc1 = nn.Linear(LATENT, _HIDDEN)
        self.bodyprior_dec_fc2 = nn.Linear(_HIDDEN, _HIDDEN)
        self.bodyprior_dec_out = nn.Linear(_HIDDEN, outputs)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent codes [B, 32] -> rotations in 6D, [B, 21, 6]."""
        x = F.leaky_relu(self.bodyprior_dec_fc1(latent), _SLOPE)
        x = F.leaky_relu(self.bodyprior_dec_fc2(x), _SLOPE)
        rotations: Tensor = self.bodyprior_dec_out(x)
        return rotations.view(-1, BODY_JOINTS, 6)


class VPoser(nn.Module):
    """VPoser as 3DCrowdNet uses it: frozen, and always as in inference.

    Who has no VPoser of their own can have its decoder learn along (:meth:`learn`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.vposer = VPoserWeights().requires_grad_(False)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent codes [B, 32] -> SMPL's body pose without root, axis-angle [B, 69].

        The hands, which VPoser doesn't know, stay at rest.
        """
        body = matrix_to_axis_angle(rot6d_to_matrix(self.vposer(latent), ROT6D_EPS))
        return F.pad(body.flatten(1), (0, 6))

    def learn(self) -> None:
        """Let the decoder be trained with the rest; it begins near the rest pose."""
        for name, parameter in self.vposer.named_parameters():
            parameter.requires_grad_(name.startswith("bodyprior_dec_"))
        out = self.vposer.bodyprior_dec_out
        nn.init.normal_(out.weight, std=0.01)
        with torch.no_grad():
            out.bias.copy_(torch.tensor(IDENTITY_6D).repeat(BODY_JOINTS))

    def load(self, path: Path) -> None:
        """Take the weights from the user's own VPoser v1 file (a ``.pt`` in ``snapshots``).

        Raises:
            InputError: if the file can't be read safely, or holds something else.
        """
        content = read_untrusted(path)
        if not is_state_dict(content):
            raise InputError(
                f"{path} is no VPoser: expected a mapping of names to tensors, as in VPoser v1's "
                "snapshots/*.pt (https://smpl-x.is.tue.mpg.de)"
            )
        weights = {key.removeprefix("module."): value for key, value in content.items()}
        problems = mismatches(weights, self.vposer.state_dict())
        if problems:
            raise InputError(f"{path} is not VPoser v1:\n{problems}")
        self.vposer.load_state_dict(weights)
