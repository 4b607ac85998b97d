"""The whole of MAED: clips of a person's crops to bodies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.models.layers.resnetv2 import STRIDE
from smap_train.models.layers.smpl_files import (
    EXTRA_FILE,
    H36M_FILE,
    MEAN_FILE,
    load_joint_regressor,
    load_mean_parameters,
    load_smpl,
)
from smap_train.models.maed.attention import MODES, Mode
from smap_train.models.maed.body import EXTRA_ROWS, H36M_ROWS
from smap_train.models.maed.decoder import IterativeDecoder, KinematicTreeDecoder
from smap_train.models.maed.encoder import Encoder

Decoder = Literal["ktd", "iterative"]
_DECODERS: dict[str, type[KinematicTreeDecoder] | type[IterativeDecoder]] = {
    "ktd": KinematicTreeDecoder,
    "iterative": IterativeDecoder,
}
# These keep the batch of frames flat; the others are given back as clips.
_PER_FRAME = ("feat", "pose6d", "shape", "cam")


class Maed(nn.Module):
    """SMPL parameters, mesh and joints of one person in N clips of T frames.

    Input: float32 [N, T, 3, 224, 224], RGB / 255 normalised with ImageNet's mean (0.485, 0.456,
    0.406) and standard deviation (0.229, 0.224, 0.225); crops of 1.3 times the person's box,
    linear interpolation, black outside the image. T is at most 16, and any number in the modes
    ``vanilla`` and ``temporal``.

    ``forward`` returns, in both training and eval mode, a dict of

    - ``feat`` [N * T, 768], ``pose6d`` [N * T, 144], ``shape`` [N * T, 10], ``cam`` [N * T, 3];
    - ``theta`` [N, T, 85]: camera (s, tx, ty), 24 axis-angle vectors, 10 shape coefficients;
    - ``kp_2d`` [N, T, 49, 2], -1..1 over the crop; ``kp_3d`` [N, T, 49, 3], metres;
    - ``verts`` [N, T, 6890, 3], metres; ``rotmat`` [N, T, 24, 3, 3];
    - ``h36m_kp_3d`` [N, T, 17, 3] and ``h36m_kp_2d``, once their regressor is set.

    3D is in SMPL's own frame turned by the root's rotation: the axes of the optical frame, but
    not placed; ``body.camera_translation`` of ``cam`` places it before the crop's camera.

    Checkpoints hold the body; without one, ``load_body`` fills it from the user's files.

    Args:
        mode: how attention spans space and time: parallel, series, coupling, vanilla, temporal.
        decoder: ``ktd`` (the paper's) or ``iterative`` (SPIN's).
        image_size: height and width of a crop, a multiple of 16.
        width, depth, heads: of the transformer.
        blocks: of the convolutional front end's three stages.

    Raises:
        InputError: if an option is none of those.
    """

    def __init__(
        self,
        mode: Mode = "parallel",
        decoder: Decoder = "ktd",
        image_size: int = 224,
        width: int = 768,
        depth: int = 6,
        heads: int = 12,
        blocks: tuple[int, int, int] = (3, 4, 9),
    ) -> None:
        super().__init__()
        _check("mode", mode, MODES)
        _check("decoder", decoder, get_args(Decoder))
        if image_size < STRIDE or image_size % STRIDE or width % heads:
            raise InputError(
                f"maed: image size {image_size} must be a multiple of {STRIDE}, and width {width} "
                f"one of the {heads} heads"
            )
        self.mode = mode
        self.encoder = Encoder(mode, image_size, width, depth, heads, tuple(blocks))
        self.decoder = _DECODERS[decoder](width)

    def load_body(self, folder: Path) -> None:
        """Fill the body from the user's own files; ``layers.smpl_files`` tells which and whence.

        Args:
            folder: holds ``SMPL_NEUTRAL.pkl`` (or ``.npz``) and ``J_regressor_extra.npy``; the
                iterative decoder also needs ``smpl_mean_params.npz``. ``J_regressor_h36m.npy``
                is used if it is there.

        Raises:
            InputError: if a file is missing, damaged or of another kind. Nothing is filled then.
        """
        body = load_smpl(folder)
        extra = load_joint_regressor(folder / EXTRA_FILE, EXTRA_ROWS)
        h36m = folder / H36M_FILE
        human36m = load_joint_regressor(h36m, H36M_ROWS) if h36m.exists() else None
        if isinstance(self.decoder, IterativeDecoder):
            self.decoder.set_mean(*load_mean_parameters(folder / MEAN_FILE))
        self.decoder.smpl.set_body(body)
        self.decoder.smpl.set_joint_regressors(extra, human36m)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Estimate; see the class for input and results.

        Raises:
            InputError: if the clips' shape is wrong or they are too long.
        """
        if clips.ndim != 5:
            raise InputError(
                f"clips: got shape {tuple(clips.shape)}, expected (clips, frames, 3, height, width)"
            )
        tokens = self.frame_tokens(clips.flatten(0, 1))
        return self.from_tokens(tokens.unflatten(0, clips.shape[:2]))

    def frame_tokens(self, frames: Tensor) -> Tensor:
        """The part that looks at each frame alone; online, a frame needs it only once.

        Args:
            frames: [B, 3, 224, 224].

        Returns:
            [B, 196, 768].
        """
        return self.encoder.tokens(frames)

    def from_tokens(self, tokens: Tensor) -> dict[str, Tensor]:
        """The part that looks at clips.

        Args:
            tokens: of ``frame_tokens``, [N, T, 196, 768].

        Returns:
            As ``forward``.
        """
        features: Tensor = self.encoder(tokens)
        found: dict[str, Tensor] = {"feat": features, **self.decoder(features)}
        clips = tokens.shape[:2]
        return {
            name: value if name in _PER_FRAME else value.unflatten(0, clips)
            for name, value in found.items()
        }


def _check(option: str, got: str, known: tuple[str, ...]) -> None:
    if got not in known:
        raise InputError(f"maed: {option} {got!r} is unknown; expected {' or '.join(known)}")
