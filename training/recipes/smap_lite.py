"""Recipe ``smap_lite``: photos and virtual scenes, SMAP's outputs on a mobile backbone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.data.augment import NONE, Augmentation
from smap_train.data.dataset import MixedDataset, VirtualScene, read_shards
from smap_train.data.photo_people import PhotoData, open_photos
from smap_train.data.shards import shard_files
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import SKIPPED
from smap_train.losses.smap_lite import LossWeights, lite_losses
from smap_train.losses.teacher import teacher_loss, two_looks
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint, mismatches
from smap_train.models.exported import load_exported, read_exported
from smap_train.models.finished import bundle_of, finished_lite, is_checkpoint, weights_file
from smap_train.models.smap_lite import SmapLite
from smap_train.recipes.base import Recipe, settle

_NECKS = ("neck_depth.", "neck_pose.", "depth_spread.")  # heads that weights may lack


class SmapLiteConfig(RunConfig):
    """Everything that determines a run."""

    recipe: Literal["smap_lite"] = Field("smap_lite", description="this recipe")
    sports: PhotoData | None = Field(None, description="Leeds Sports Pose Extended")
    street: PhotoData | None = Field(None, description="Clothing Co-Parsing photos")
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    virtual_share: float = Field(
        0.5, ge=0, le=1, description="share of pictures from them; without photos all are"
    )
    paste_share: float = Field(
        0.3, ge=0, le=1, description="share of the photos that are masked people, pasted"
    )
    sports_share: float = Field(
        0.6, ge=0, le=1, description="share of the composed photos that are sports photos"
    )
    two_rows: float = Field(
        0.0, ge=0, le=1, description="share of the composed photos with two rows of people"
    )
    holdout: int = Field(
        500, ge=0, description="last sports photos kept for testing; a fifth of it of the others"
    )
    width: int = Field(448, gt=0, multiple_of=32)
    height: int = Field(256, gt=0, multiple_of=32)
    backbone_rate: float = Field(0.3, ge=0, description="factor on the rate for the backbone")
    freeze_blocks: int = Field(
        3, ge=0, le=16, description="first backbone blocks held, and the stem; 0: none"
    )
    loss: LossWeights = LossWeights()
    backbone: Literal["movenet", "efficientnet_lite0"] = "movenet"
    movenet: Path | None = Field(None, description="archive of MoveNet's published weights")
    frozen_norms: bool = Field(
        False, description="batch norms keep the statistics that they start with"
    )
    teacher: Path | None = Field(
        None,
        description="NAME.pth, model.onnx or a bundle; two looks of it are taught on ordinary "
        "pictures",
    )
    ordinary: list[Path] = Field([], description="folders of shards that the teacher is good at")
    ordinary_share: float = Field(
        0.0, ge=0, le=1, description="share of pictures for the teacher: from those, without `more`"
    )
    necks: bool = Field(False, description="necks tell depth and pose too, and depths a spread")
    more: Augmentation = Field(NONE, description="shares of near, turned, ... pictures")
    initial: Path | None = Field(
        None,
        description="weights to start from instead of published: NAME.pth, a model.onnx, or a "
        "bundle (shipped: smap_lite), whose RefineNet and thresholds then go with the new weights",
    )
    held_out: list[Path] = Field([], description="shards that the best weights are chosen by")


class SmapLiteRecipe(Recipe[SmapLiteConfig]):
    """smap_lite with its losses."""

    config_type: ClassVar[type[RunConfig]] = SmapLiteConfig
    summary = "all people of an image, in metres, on a CPU"
    model = "smap_lite"
    bundle_kind = "smap"

    def __init__(self, config: SmapLiteConfig) -> None:
        super().__init__(config)
        self.options = {
            "backbone": config.backbone, **({"necks": True} if config.necks else {})
        }  # fmt: skip
        self.input_size = (config.width, config.height)
        self._teacher: SmapLite | None = None

    def network(self) -> SmapLite:
        """Published weights, or those to start from."""
        config = self.config
        network = create(self.model, **self.options)
        assert isinstance(network, SmapLite)
        if config.initial is None:
            network.load_pretrained(config.movenet)
        else:
            load_initial(network, config.initial)
            if not is_checkpoint(config.initial) and not config.frozen_norms:
                settle(network, self.dataset())
        network.backbone.freeze(config.freeze_blocks)
        network.frozen_norms = config.frozen_norms
        return network.train().to(memory_format=torch.channels_last)

    def dataset(self) -> MixedDataset:
        """The mixture that the configuration asks for."""
        return training_set(self.config)

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """See :func:`smap_train.losses.smap_lite.lite_losses`."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        output = network(image)
        terms = lite_losses(output, batch)
        if self.config.teacher is not None:
            terms["teacher"] = self._taught(image, output, batch["ordinary"])
        return terms

    def _taught(self, image: Tensor, output: Mapping[str, Tensor], ordinary: Tensor) -> Tensor:
        """The teacher's term, of the pictures of a batch that are for it."""
        assert self.config.teacher is not None
        if self._teacher is None:
            found = finished_lite(self.config.teacher, self.config.backbone)
            self._teacher = found.to(image.device)
        picked = {name: value[ordinary] for name, value in output.items()}
        return teacher_loss(picked, two_looks(self._teacher, image[ordinary]))

    def loss_weights(self) -> Mapping[str, float]:
        """As configured."""
        return vars(self.config.loss)

    def parameter_groups(self, network: nn.Module) -> Iterable[Any]:
        """The new layers at the run's rate, the backbone at a lower one."""
        assert isinstance(network, SmapLite)
        backbone = [p for p in network.backbone.parameters() if p.requires_grad]
        new = [p for n, p in network.named_parameters() if not n.startswith("backbone.")]
        slow = self.config.learning_rate * self.config.backbone_rate
        return [{"params": backbone, "lr": slow}, {"params": new}]

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """See :func:`smap_train.export.measured.held_out_measures`."""
        from smap_train.export.measured import held_out_measures

        like = self.export_options(self.config).get("like")
        return held_out_measures(self, network, self.config.held_out, limit, like)

    @classmethod
    def export_options(cls, config: SmapLiteConfig) -> dict[str, Any]:
        """What goes with the network of the bundle that it started from."""
        return {} if bundle_of(config.initial) is None else {"like": str(config.initial)}

    def files(self) -> list[Path]:
        """Archives of photos with their labels, shards, and finished networks."""
        photos = [data for data in (self.config.sports, self.config.street) if data]
        files = [path for data in photos for path in (data.archive, data.pseudo)]
        config = self.config
        finished = [weights_file(path) for path in (config.teacher, config.initial) if path]
        return files + shard_files([*config.virtual, *config.ordinary, *config.held_out]) + finished


def load_initial(model: SmapLite, path: Path) -> None:
    """Start from a checkpoint or an exported bundle; heads that these lack start from others.

    Raises:
        InputError: if the weights don't fit.
    """
    if not is_checkpoint(path):
        missing = load_exported(model, read_exported(weights_file(path)))
    else:
        weights = load_checkpoint(path)["state_dict"]
        expected = model.state_dict()
        missing = sorted(set(expected) - set(weights))
        known = {key: value for key, value in expected.items() if key in weights}
        problems = mismatches(weights, known)
        if problems:
            raise InputError(f"{path} doesn't fit this network:\n{problems}")
        model.load_state_dict(weights, strict=False)
    if not all(name.startswith(_NECKS) for name in missing):
        raise InputError(f"{path} lacks weights of this network: {', '.join(missing[:5])}, ...")
    if missing:
        model.start_necks()


def training_set(config: SmapLiteConfig) -> MixedDataset:
    """The mixture a configuration asks for, without its held-out photos."""
    sports, street = open_photos(
        config.sports, config.street, config.holdout, config.on_bad, config.out / SKIPPED
    )
    scenes = _scenes(config, config.virtual)
    return MixedDataset(
        sports,
        street,
        scenes,
        size=(config.width, config.height),
        length=config.steps * config.batch_size,
        seed=config.seed,
        virtual_share=config.virtual_share,
        paste_share=config.paste_share,
        sports_share=config.sports_share,
        two_rows=config.two_rows,
        more=config.more,
        ordinary=_scenes(config, config.ordinary),
        ordinary_share=config.ordinary_share,
    )


def _scenes(config: SmapLiteConfig, folders: list[Path]) -> list[VirtualScene]:
    """The scenes of folders of shards that can be used."""
    listed = config.out / SKIPPED
    return [scene for f in folders for scene in read_shards(f, config.on_bad, listed)]
