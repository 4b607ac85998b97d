"""Recipe ``crowdnet``: 3DCrowdNet (Choi et al., CVPR 2022), with a ResNet or HAP's transformer.

The network is told by a 2D pose whom to look at: in training that is the true one, made as wrong
as detectors make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_ros.evaluation.common.metrics import procrustes
from smap_ros.skeletons import COCO17, SMPL30
from smap_train.data.layouts.persons import PersonRecord
from smap_train.data.person_crop import MARGIN, View, cut, matrix_of, person_crop, viewed
from smap_train.data.pose_errors import disturbed
from smap_train.engine.config import Drops, RunConfig
from smap_train.losses.mesh import MeshTargets, mesh_losses
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint, mismatches
from smap_train.models.crowdnet import HapCrowdNet
from smap_train.models.crowdnet.body import INPUT_SIZE, ROOT, CrowdBody
from smap_train.models.crowdnet.guidance import HEATMAP_SIZE
from smap_train.models.crowdnet.network import PoseGuidedNetwork
from smap_train.models.crowdnet.vit import HapBackbone
from smap_train.models.golden_body import is_stand_in, synthetic_body, synthetic_regressor
from smap_train.models.hap.network import IMAGE_SIZE, PATCH, encoder_weights
from smap_train.models.layers.smpl_files import EXTRA_FILE, load_joint_regressor, load_smpl
from smap_train.models.maed.body import EXTRA_ROWS
from smap_train.recipes.base import copy_fitting, start_from
from smap_train.recipes.people import PeopleConfig, PeopleRecipe
from smap_train.targets.mesh import annotated, fitted, tensors

_MM = 1000.0
_PRETRAINING = "hap_pretraining"  # model of weights for HAP's transformer
_GRID = (INPUT_SIZE // PATCH, INPUT_SIZE // PATCH)  # its patches
# Of the pose that tells whom to look at, those joints that detectors find.
_DETECTED = [(SMPL30.index(name), k) for k, name in enumerate(COCO17.joints)]
_FILES = ("SMPL_NEUTRAL.npz", "SMPL_NEUTRAL.pkl", EXTRA_FILE)


class CrowdNetConfig(PeopleConfig):
    """Everything that determines a run. The defaults are the official ones, but for the steps."""

    recipe: Literal["crowdnet"] = Field("crowdnet", description="this recipe")
    smpl: Path | None = Field(
        None, description="folder of your SMPL files; none: a stand-in that is no body"
    )
    vposer: Path | None = Field(
        None, description="your VPoser v1 weights; none: its decoder is trained along"
    )
    backbone: Literal["resnet", "hap"] = Field("resnet", description="of the network")
    resnet: dict[str, int] = Field(
        {}, description="depth and stem_width of the resnet; none: the official ResNet-50"
    )
    backbone_weights: Path | None = Field(
        None, description="Simple Baselines' pose ResNet, or hap_pretraining.pth for hap"
    )
    initial: Path | None = Field(None, description="weights to start from: crowdnet.pth")
    optimiser: Literal["adam", "sgd", "adamw"] = Field(
        "adam", description="adam; officially sgd without momentum for hap"
    )
    backbone_rate: float = Field(1.0, ge=0, description="factor on the rate for the backbone")
    disturb: bool = Field(True, description="make the guiding poses as wrong as detectors do")
    batch_size: int = Field(256, gt=0, description="people a step, over all devices together")
    learning_rate: float = Field(1e-3, gt=0, description="at the start")
    drops: Drops = Field(
        [0.9], description="shares of the steps at which the rate drops: epochs of 10"
    )


class CrowdNetRecipe(PeopleRecipe[CrowdNetConfig]):
    """crowdnet, or hap_crowdnet, with its losses."""

    config_type: ClassVar[type[RunConfig]] = CrowdNetConfig
    summary = "3DCrowdNet: one person's body from a crop and a 2D pose (Choi et al. 2022)"
    model = "crowdnet"
    bundle_kind = "mesh"

    @classmethod
    def model_of(cls, config: CrowdNetConfig) -> str:
        """On HAP's backbone it is another network."""
        return "hap_crowdnet" if config.backbone == "hap" else cls.model

    @classmethod
    def export_options(cls, config: CrowdNetConfig) -> dict[str, Any]:
        """The body that it was trained with."""
        return {"smpl": config.smpl, "stand_in": config.smpl is None}

    def __init__(self, config: CrowdNetConfig) -> None:
        super().__init__(config)
        self.model = self.model_of(config)  # type: ignore[misc]
        if config.backbone != "hap":
            self.options = dict(config.resnet)
        self._body: CrowdBody | None = None
        if config.smpl is not None:  # of fits
            self._body = CrowdBody().eval()
            fill_body(self._body, config.smpl)

    def network(self) -> PoseGuidedNetwork:
        """Fresh weights, with the backbone's and the body's own where they are given."""
        config = self.config
        network = create(self.model, **self.options)
        assert isinstance(network, PoseGuidedNetwork)
        if config.vposer is None:
            network.vposer.learn()
        if isinstance(network, HapCrowdNet):
            network.vit_conv_layer.requires_grad_(False)  # officially in no optimiser
            if config.backbone_weights is not None:
                take_pretrained(network.backbone, config.backbone_weights)
        elif config.backbone_weights is not None:
            copy_fitting(network.backbone, config.backbone_weights)
        start_from(network, config.initial)
        # After those weights, which hold a body and a VPoser, too: the named ones count.
        self._complete(network)
        return network

    def _complete(self, network: PoseGuidedNetwork) -> None:
        """Give a network the body and the space of poses that the run is to have.

        Raises:
            InputError: if its weights brought a real body, and none was named.
        """
        config, body = self.config, network.human_model_layer
        known = all(bool(buffer.isfinite().all()) for buffer in body.buffers())
        if config.smpl is None and known and not is_stand_in(body):
            raise InputError(
                f"{config.initial} holds a body of its own, but not where the top of its head is, "
                "and smpl isn't set: expected the folder of your own SMPL files, with "
                f"SMPL_NEUTRAL.pkl and {EXTRA_FILE}. Set smpl to it"
            )
        fill_body(body, config.smpl)
        if config.vposer is not None:
            network.vposer.load(config.vposer)

    def sample(self, record: PersonRecord, rng: np.random.Generator) -> dict[str, Tensor]:
        """A random crop of a person, as :meth:`tensors` has it."""
        return self.tensors(record, View.draw(rng, covered=0.0), rng, self.config.disturb)

    def tensors(
        self, record: PersonRecord, view: View, rng: np.random.Generator, disturb: bool
    ) -> dict[str, Tensor]:
        """A person seen in a given way.

        Returns:
            ``image`` float32 [3, 256, 256], ``joints`` float32 [30, 2] and ``mask`` float32
            [30, 1], the network's input; and the fields of ``MeshTargets``.
        """
        crop = person_crop(record, INPUT_SIZE, MARGIN)
        matrix = matrix_of(crop, view, record.width)
        seen = viewed(record.person(SMPL30), matrix, view, SMPL30.flip)
        targets = annotated(seen, view) | fitted(record, self._body, matrix, view)
        guide = seen.pixels.copy()
        if disturb:
            self._disturb(guide, record, matrix, view, rng)
        image = cut(record.read(), record, crop, view, rng).transpose(2, 0, 1)
        guidance = {
            "image": image / np.float32(255), "joints": guide * (HEATMAP_SIZE / INPUT_SIZE),
            "mask": targets["joints_img_mask"],
        }  # fmt: skip
        return tensors(guidance | targets)

    def _disturb(
        self,
        guide: np.ndarray,
        record: PersonRecord,
        matrix: np.ndarray,
        view: View,
        rng: np.random.Generator,
    ) -> None:
        """Make the joints that detectors find, of a pose in pixels of the crop, as wrong."""
        own = viewed(record.person(COCO17), matrix, view, COCO17.flip)
        others = record.neighbours(COCO17)
        others[..., :2] = others[..., :2] @ matrix[:, :2].T + matrix[:, 2]
        if view.flip:
            others = others[:, COCO17.flip]
        found = disturbed(own.pixels, own.known, others, rng)
        for joint, k in _DETECTED:
            guide[joint] = found[k]

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """See :func:`smap_train.losses.mesh.mesh_losses`."""
        body = network.human_model_layer
        assert isinstance(body, CrowdBody)
        outputs = network(batch["image"], batch["joints"], batch["mask"])
        targets = MeshTargets(**{field.name: batch[field.name] for field in fields(MeshTargets)})
        return mesh_losses(outputs, body, targets)

    def loss_weights(self) -> Mapping[str, float]:
        """All 1: their factors are in the losses."""
        names = ("body_joint_img", "smpl_joint_img", "smpl_pose", "smpl_shape")
        return dict.fromkeys((*names, "body_joint_proj", "body_joint_cam", "smpl_joint_cam"), 1.0)

    def parameter_groups(self, network: nn.Module) -> Iterable[Any]:
        """All that is trained; the backbone at its own rate."""
        assert isinstance(network, PoseGuidedNetwork)
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        slow = self.config.learning_rate * self.config.backbone_rate
        return [
            {"params": [p for n, p in trained.items() if n.startswith("backbone.")], "lr": slow},
            {"params": [p for n, p in trained.items() if not n.startswith("backbone.")]},
        ]

    def optimizer(self, groups: Iterable[Any]) -> torch.optim.Optimizer:
        """As configured."""
        config = self.config
        if config.optimiser == "sgd":
            return torch.optim.SGD(groups, config.learning_rate, weight_decay=config.weight_decay)
        kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
        return kind(groups, config.learning_rate, weight_decay=config.weight_decay)

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Errors of the body's joints about the pelvis, mm, of held-out virtual people.

        Guided by true poses. ``pa_mpjpe_mm`` after the best similarity transform.
        """
        device = next(network.parameters()).device
        plain, aligned = [], []
        for record in self.held_out(limit):
            sample = self.tensors(record, View(), np.random.default_rng(0), False)
            given = [sample[name][None].to(device) for name in ("image", "joints", "mask")]
            body = network.human_model_layer
            joints = body.joints30(network(*given)["out_mesh_cam"])[0].cpu().double().numpy()
            wanted = sample["joints_cam_mask"][:, 0].numpy() > 0
            true, found = sample["joints_cam"].numpy(), joints - joints[ROOT]
            plain.append(np.linalg.norm(found - true, axis=1)[wanted].mean())
            moved = procrustes(found[wanted], true[wanted])
            aligned.append(np.linalg.norm(moved - true[wanted], axis=1).mean())
        if not plain:
            return {}
        means = (_MM * float(np.mean(values)) for values in (plain, aligned))
        return dict(zip(("mpjpe_mm", "pa_mpjpe_mm"), means, strict=True))

    def files(self) -> list[Path]:
        """Annotations, shards, and the body's files."""
        smpl = self.config.smpl
        own = [smpl / name for name in _FILES] if smpl else []
        return super().files() + [path for path in own if path.is_file()]


def take_pretrained(backbone: HapBackbone, path: Path) -> None:
    """Give HAP's transformer the encoder of the pre-training.

    Raises:
        InputError: if the file holds another model, or one of another size.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint["model"] != _PRETRAINING:
        raise InputError(
            f"{path} holds model {checkpoint['model']!r}; expected {_PRETRAINING!r} for "
            "backbone=hap. Set backbone_weights to a hap_pretraining.pth"
        )
    height, width = checkpoint["options"].get("image_size", IMAGE_SIZE)
    seen = height // PATCH, width // PATCH
    try:
        weights = encoder_weights(checkpoint["state_dict"], seen, _GRID)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if problems := mismatches(weights, backbone.state_dict(), limit=5):
        raise InputError(
            f"the encoder in {path} is no ViT-B/16:\n{problems}\nset backbone_weights to that of "
            "a pre-training without `network`"
        )
    backbone.load_state_dict(weights)


def fill_body(body: CrowdBody, smpl: Path | None) -> None:
    """Give a network its body: the user's own SMPL, or the stand-in of the golden files.

    Raises:
        InputError: if the folder lacks a file, saying which.
    """
    if smpl is None:
        body.set_body(synthetic_body())
        body.set_joint_regressor(synthetic_regressor("J_regressor_extra", EXTRA_ROWS))
    else:
        body.set_body(load_smpl(smpl))
        body.set_joint_regressor(load_joint_regressor(smpl / EXTRA_FILE, EXTRA_ROWS))
