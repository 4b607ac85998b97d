"""What recipes have in common whose networks see crops of single people."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import Field

from smap_train.data.layouts.people import PeopleData
from smap_train.data.layouts.persons import PersonRecord
from smap_train.data.layouts.virtual import Boxes, Clear, open_virtual_people
from smap_train.data.shards import shard_files
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import Mixture, Source, in_share
from smap_train.recipes.base import Recipe


class PeopleConfig(RunConfig):
    """Where people come from: half of the samples from data sets with depths, half from others."""

    data_3d: list[PeopleData] = Field(
        [], description="data sets with depths: h36m, muco, 3dpw, ..."
    )
    data_2d: list[PeopleData] = Field([], description="data sets without: mpii, coco, crowdpose")
    virtual: list[Path] = Field([], description="folders of shards from `smap-train synth`")
    held_out: list[Path] = Field([], description="shards that the best weights are chosen by")
    share_3d: float = Field(
        0.5, gt=0, lt=1, description="of the samples with depths, where there are both"
    )
    boxes: Boxes = Field(
        "labelled", description="of virtual people: labelled, or about their joints"
    )
    fewest_seen: int = Field(
        0, ge=0, le=15, description="joints of a virtual person that aren't hidden, to learn from"
    )
    smallest: float = Field(
        0.0, ge=0, description="longer side of a virtual person's box, pixels, to learn from"
    )
    weight_decay: float = Field(0.0, ge=0, description="factor on the weights")
    warmup: int = Field(0, ge=0, description="steps that warm up")
    cooldown: float = Field(0.0, ge=0, le=1, description="share of the steps that cool down")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")


Config = TypeVar("Config", bound=PeopleConfig)


class PeopleRecipe(Recipe[Config]):
    """A recipe that learns from people one by one."""

    @abstractmethod
    def sample(self, record: PersonRecord, rng: np.random.Generator) -> Any:
        """What the network is shown of a person, and what it should answer."""

    def dataset(self) -> Mixture:
        """People with depths, virtual ones among them, and people without, in their shares."""
        config = self.config
        deep = [Source(data.name, data.open(), self.sample) for data in config.data_3d]
        if config.virtual:
            clear = Clear(config.fewest_seen, config.smallest)
            people = open_virtual_people(config.virtual, config.boxes, clear=clear)
            deep.append(Source("virtual people", people, self.sample))
        flat = self.flat_sources()
        share = config.share_3d if deep and flat else None
        sources = in_share(deep, share) + in_share(flat, None if share is None else 1 - share)
        return self.mixture(sources)

    def flat_sources(self) -> list[Source[PersonRecord]]:
        """People in photos, whose depths nobody measured."""
        return [Source(data.name, data.open(), self.sample) for data in self.config.data_2d]

    def held_out(self, limit: int) -> Iterator[PersonRecord]:
        """Virtual people that aren't learnt from, evenly among all of them, at most ``limit``."""
        if self.config.held_out:
            people = open_virtual_people(self.config.held_out, self.config.boxes)
            count = min(limit, len(people))
            yield from (people[int(k)] for k in np.linspace(0, len(people) - 1, count).round())

    def files(self) -> list[Path]:
        """Annotations and shards."""
        config = self.config
        annotations = [path for data in config.data_3d + config.data_2d for path in data.files()]
        return annotations + shard_files([*config.virtual, *config.held_out])
