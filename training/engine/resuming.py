"""Whether a run's folder can be gone on with, or begun in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from smap_ros.errors import InputError, reason
from smap_train.engine.checkpoint import LAST, STEPS
from smap_train.engine.config import RunConfig
from smap_train.engine.module import RecipeModule
from smap_train.engine.sampling import SKIPPED
from smap_train.engine.validation import BEST, MEASURES, measured
from smap_train.models.checkpoint import mismatches, read_untrusted

LOG = logging.getLogger(__name__)


def begin_anew(config: RunConfig, model: str) -> None:
    """Make sure that nothing of an earlier run in the folder is taken for this one's.

    A run that was killed before its first state may begin again: what such a one can leave, the
    measures of its start and the records that it left out, comes again, and is removed. All else
    was written beside a state, which somebody has removed since.

    Args:
        config: of a run without a state.
        model: name of its weights.

    Raises:
        InputError: naming what an earlier run left.
    """
    out, weights = config.out, config.out / f"{model}.pth"
    steps = [line["step"] for line in measured(out / MEASURES)]
    ours = [out / SKIPPED, *([out / MEASURES] if steps in ([], [0]) else [])]
    ours += [out / BEST] if steps == [0] else []
    # A run that was asked to end within its first step leaves a state of step 0.
    ours += [out / LAST, weights] if (out / LAST).exists() else []
    others = [out / BEST, out / MEASURES, weights, *(out / STEPS).glob("*.pth")]
    left = sorted(path for path in others if path.exists() and path not in ours)
    if left:
        named = ", ".join(str(path.relative_to(out)) for path in left[:5])
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        raise InputError(
            f"{out} holds what an earlier run left, {named}{more}, but no {LAST} to go on from; "
            "it would be taken for this run's. Choose another `out`, or move or remove these files"
        )
    for path in ours:
        if path.exists():
            LOG.info("removed: %s, of a start that ended before its first state", path)
            path.unlink()


def check_fits(state: Path, module: RecipeModule) -> None:
    """Refuse a state of another network, or of another optimiser, before anything is changed.

    Args:
        state: of the run.
        module: that is to go on from it.

    Raises:
        InputError: naming what differs.
    """
    weights, was = _stored(state)
    if problems := mismatches(weights, module.state_dict()):
        raise InputError(
            f"{state} holds another network than these settings make:\n{problems}\n"
            "--change can't change the network; choose another `out`"
        )
    now = module.fresh_optimizer().param_groups
    sizes = [[len(group["params"]) for group in groups] for groups in (was, now)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{state} is of a run that trains other weights: groups of {_told(sizes[0])} tensors, "
            f"these settings make groups of {_told(sizes[1])}. --change can't change which weights "
            "are trained; choose another `out`"
        )
    if not all(map(_same_optimiser, was, now)):
        raise InputError(
            f"{state} is of a run with another optimiser, whose moments don't fit. --change can't "
            "change the optimiser; choose another `out`"
        )


def _stored(state: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Weights of a state, and the groups of its optimiser."""
    content = read_untrusted(state)
    try:
        return content["state_dict"], content["optimizer_states"][0]["param_groups"]
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"{state} is no state of a run ({reason(error)}); put back a copy, or choose "
            "another `out` to begin anew"
        ) from error


def _same_optimiser(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether both groups are of optimisers with the same moments."""
    return all((name in was) == (name in now) for name in ("betas", "momentum"))


def _told(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))
