"""What every run can be told; recipes add what is theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]

Drops = list[Annotated[float, Field(gt=0, lt=1)]]  # shares of a run's steps
Widths = list[Annotated[int, Field(gt=0)]]  # of a network's layers


class RunConfig(BaseModel):
    """What every run has. Recipes derive theirs, and may state other defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # What a run may be resumed with although it differs: none of it changes what is computed.
    FREE: ClassVar[frozenset[str]] = frozenset(
        {
            "out", "workers", "threads", "checkpoint_every", "checkpoint_minutes", "keep_every",
            "validate_every", "devices", "nodes", "strategy", "time_limit", "validation_limit",
        }
    )  # fmt: skip

    recipe: str = Field(description="what is trained; `smap-train recipes` lists them")
    out: Path = Field(description="folder of checkpoints and curves; resumed when it has any")
    seed: int = Field(0, ge=0, lt=2**32, description="of everything random in the run")
    steps: int = Field(gt=0, le=10**9, description="optimiser steps of the whole run")
    batch_size: int = Field(
        16, gt=0, le=10**7, description="samples a step, over all devices together"
    )
    accumulate: int = Field(
        1,
        gt=0,
        description="parts that a device computes its share of a step in, one by one; losses are "
        "means over the people of a part",
    )
    learning_rate: float = Field(1e-3, gt=0, description="at the peak")
    weight_decay: float = Field(1e-4, ge=0, description="factor on the weights")
    warmup: int = Field(100, ge=0, description="steps that warm up")
    cooldown: float = Field(0.5, ge=0, le=1, description="share of the steps that cool down")
    drops: Drops = Field([], description="shares of the steps at which the rate drops")
    drop_factor: float = Field(0.1, gt=0, le=1, description="factor on the rate at each drop")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(5.0, ge=0, description="largest norm of a step's gradient; 0: any")
    precision: Precision = Field("32-true", description="of the arithmetic")
    sync_bn: bool = Field(False, description="statistics of batch norm over all devices (GPUs)")
    on_bad: Literal["stop", "skip"] = Field(
        "stop", description="what a record that can't be used does; skipped ones are listed"
    )
    checkpoint_every: int = Field(100, gt=0, description="steps between checkpoints")
    checkpoint_minutes: float = Field(
        5.0, gt=0, description="most minutes between checkpoints, however slow steps are"
    )
    keep_every: int = Field(
        0, ge=0, description="steps between averaged weights kept for `smap-train curve`; 0: none"
    )
    validate_every: int = Field(
        0, ge=0, description="steps between measurements on held-out records; 0: none"
    )
    validation_limit: int = Field(200, gt=0, description="most held-out records measured")
    workers: int = Field(1, ge=0, le=1024, description="processes a device that prepare samples")
    threads: int = Field(0, ge=0, le=1024, description="of torch; 0 leaves its default")
    devices: int = Field(
        1, ge=0, le=1024, description="a node; 0: all GPUs. torchrun and SLURM decide it"
    )
    nodes: int = Field(1, gt=0, description="machines. torchrun and SLURM decide it")
    strategy: str = Field("auto", description="of Lightning, for several devices; auto: ddp")
    time_limit: timedelta | None = Field(
        None, gt=timedelta(0), description="HH:MM:SS from the start, then a checkpoint and the end"
    )

    @model_validator(mode="after")
    def _batch_divides(self) -> RunConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )
        return self

    def rate(self, step: int) -> float:
        """Factor on the learning rate at a step, 0 to 1: warms up, stays, drops, cools down.

        It follows from the step alone, so a resumed run needs no schedule of its own.
        """
        rising = (step + 1) / max(self.warmup, 1)
        falling = (self.steps - step) / max(self.cooldown * self.steps, 1)
        # A share of 0.68 of 2,500 steps is 1,700, not the 2e-13 more that multiplying gives.
        drops = [round(share * self.steps, 6) for share in self.drops]
        dropped = self.drop_factor ** sum(step >= drop for drop in drops)
        return max(min(rising, falling, 1.0), 0.0) * dropped

    def determining(self) -> dict[str, Any]:
        """The settings that a run can't be resumed without, as plain data."""
        settings: dict[str, Any] = self.model_dump(mode="json")
        return {name: value for name, value in settings.items() if name not in self.FREE}


def described(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key of a configuration: its name, its default and what it means."""
    for name, field in schema.model_fields.items():
        inner = _model_of(field.annotation)
        if inner is not None:
            yield from described(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _default(field), field.description or ""


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The nested model of a field, alone or optional."""
    options = getattr(annotation, "__args__", None) or (annotation,)
    models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
    return models[0] if len(models) == 1 and not isinstance(annotation, Mapping) else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return str(field.get_default(call_default_factory=True))
