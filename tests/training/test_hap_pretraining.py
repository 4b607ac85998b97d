"""HAP's pre-training: what is hidden, what is asked for, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from smap_ros.errors import InputError
from smap_ros.skeletons import COCO17
from smap_train.models.crowdnet.vit import HapBackbone
from smap_train.models.hap.losses import alignment_loss, pretraining_loss, reconstruction_loss
from smap_train.models.hap.masks import PARTS, block_mask, mask_priorities, part_patches
from smap_train.models.hap.network import (
    HapPretraining,
    MaskedView,
    encoder_weights,
    patchify,
    position_embedding,
)

GRID, PATCH = (16, 8), 16
TINY = {
    "image_size": (64, 32), "width": 64, "depth": 2, "heads": 4,
    "decoder_width": 32, "decoder_depth": 1, "decoder_heads": 4,
}  # fmt: skip

# A standing person in a crop of 256 x 128 px, from nose to ankles.
PERSON = np.array(
    [
        [64, 20], [69, 16], [59, 16], [74, 20], [54, 20], [84, 60], [44, 60], [94, 95], [34, 95],
        [98, 130], [30, 130], [76, 135], [52, 135], [78, 185], [50, 185], [79, 235], [49, 235],
    ],
    float,
)  # fmt: skip


def test_parts_cover_the_joints_and_patches_lie_on_their_bones():
    assert {joint for part in PARTS for bone in part for joint in bone} == set(range(17))
    left_arm = part_patches(PERSON, 1, GRID, PATCH)
    rows, columns = np.nonzero(left_arm)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 8, 5, 6)
    assert left_arm[95 // 16, 94 // 16]


@pytest.mark.parametrize("place", [np.nan, -10000.0, 5000.0])
def test_bones_with_an_unknown_end_are_left_out(place):
    unknown = PERSON.copy()
    unknown[COCO17.index("l_elbow")] = place
    assert not part_patches(unknown, 1, GRID, PATCH).any()
    unknown = PERSON.copy()
    unknown[COCO17.index("l_wrist")] = place
    assert (
        0 < part_patches(unknown, 1, GRID, PATCH).sum() < part_patches(PERSON, 1, GRID, PATCH).sum()
    )


@pytest.mark.parametrize("seed", range(20))
def test_blocks_cover_about_as_many_patches_as_asked_for(seed):
    mask = block_mask(64, GRID, np.random.default_rng(seed))
    assert 48 <= mask.sum() <= 64


def test_pieces_of_random_body_parts_are_hidden_first_then_blocks():
    rng = np.random.default_rng(0)
    parts = [part_patches(PERSON, part, GRID, PATCH).ravel() for part in range(6)]
    counts = []
    for _ in range(200):
        priorities = mask_priorities(PERSON, GRID, PATCH, 0.5, rng)
        chosen = priorities > 50
        assert len(np.unique(priorities)) == 128
        assert not (chosen & ~np.any(parts, axis=0)).any()
        assert chosen.sum() <= sum(0.3 * part.sum() for part in parts)
        hidden = np.argsort(priorities)[64:]
        assert set(np.flatnonzero(chosen)) <= set(hidden)
        assert (priorities[hidden] > 2).sum() >= 48  # by parts and blocks, not by noise
        counts.append(int(chosen.sum()))
    assert min(counts) == 0 and max(counts) > 8  # from none of the parts to most of them


def test_without_a_pose_only_blocks_guide():
    nobody = np.full((17, 2), np.nan)
    priorities = mask_priorities(nobody, GRID, PATCH, 0.5, np.random.default_rng(0))
    assert priorities.max() < 3


def test_masks_follow_their_seed():
    a, b, c = (
        mask_priorities(PERSON, GRID, PATCH, 0.5, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_patches_keep_rows_columns_and_colours_together():
    image = torch.arange(2 * 3 * 32 * 48, dtype=torch.float32).view(2, 3, 32, 48)
    patches = patchify(image)
    assert patches.shape == (2, 6, 768)
    assert torch.equal(patches[1, 4].view(16, 16, 3), image[1, :, 16:32, 16:32].permute(1, 2, 0))


def test_hidden_patches_are_not_seen_and_shown_ones_are_not_asked_for():
    torch.manual_seed(0)
    model = HapPretraining(**TINY).eval()
    image, priorities = torch.randn(2, 3, 64, 32), torch.rand(2, 8)
    view = model(image, priorities)
    assert view.mask.sum(1).tolist() == [4.0, 4.0]
    shown_most = priorities.masked_fill(view.mask > 0, -1).amax(1)
    hidden_least = priorities.masked_fill(view.mask == 0, 2).amin(1)
    assert bool((shown_most < hidden_least).all())
    hidden = view.mask.view(2, 1, 4, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    again = model(image + hidden * torch.randn_like(image), priorities)
    torch.testing.assert_close(again.patches, view.patches)
    target = patchify(image)
    loss = reconstruction_loss(target, view)
    spoiled = view._replace(patches=view.patches + 5 * (1 - view.mask[..., None]))
    torch.testing.assert_close(reconstruction_loss(target, spoiled), loss)


def test_reconstruction_of_normalised_patches_costs_nothing():
    target = patchify(torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(0)))
    variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
    view = MaskedView(torch.zeros(1, 4), (target - mean) / variance.sqrt(), torch.ones(1, 8))
    assert float(reconstruction_loss(target, view)) == pytest.approx(0, abs=1e-8)


def test_alignment_is_cheap_for_partners_and_dear_for_exchanged_ones():
    people = torch.eye(4)
    partners, exchanged = alignment_loss(people, people), alignment_loss(people, people.roll(1, 0))
    # -log softmax of similarity 1 (or 0) among one 1 and three 0, temperature 0.2, both ways.
    partition = np.log(np.exp(5) + 3)
    assert float(partners) == pytest.approx(0.8 * (partition - 5), rel=1e-5)
    assert float(exchanged) == pytest.approx(0.8 * partition, rel=1e-5)


def stick_figures(count: int, generator: torch.Generator) -> Tensor:
    """Smooth pictures of one bright bar on a shaded ground, [count, 3, 64, 32]."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 32), indexing="ij")
    lean, place, hue = (torch.rand(count, 1, 1, generator=generator) for _ in range(3))
    bar = torch.exp(-((x - (place - 0.5) - (lean - 0.5) * y) ** 2) / 0.05)
    ground = y * (hue - 0.5)
    return torch.stack([bar + ground, bar * hue - ground, hue * y.expand_as(bar)], dim=1) * 2 - 0.5


def test_it_learns_to_paint_and_to_tell_people_apart():
    """A tiny network, 100 steps; judged on pictures and masks never seen: about 5 s."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)

    def views(model: HapPretraining, image: Tensor) -> tuple[MaskedView, MaskedView]:
        a, b = torch.rand(2, len(image), 8, generator=generator)
        return model(image, a), model(image, b)

    model = HapPretraining(**TINY)
    unseen = stick_figures(64, torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = pretraining_loss(unseen, *views(model, unseen))
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-3)
    for _ in range(100):
        image = stick_figures(16, generator)
        loss = pretraining_loss(image, *views(model, image))
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    learning = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in learning)
    with torch.inference_mode():
        after = pretraining_loss(unseen, *views(model, unseen))
    assert [
        name for name, p in model.named_parameters() if p.requires_grad and p.grad is None
    ] == []
    assert after.reconstruction < 0.5 * before.reconstruction
    assert after.alignment < 0.8 * before.alignment


def test_pretrained_encoder_fills_the_backbone_of_the_3d_network():
    with torch.device("meta"):
        model, backbone = HapPretraining(), HapBackbone()
    assert (
        sum(p.numel() for p in model.parameters()) == 111_820_800
    )  # MAE's 111,907,840, fewer positions
    state = {
        key: torch.empty_like(value, device="cpu") for key, value in model.state_dict().items()
    }
    state["pos_embed"] = position_embedding(GRID, 768)
    weights = encoder_weights(state, GRID, (16, 16))
    backbone.load_state_dict(weights, strict=True, assign=True)
    # Rows stay where they are, columns are twice as many.
    torch.testing.assert_close(
        backbone.pos_embed[0, 1 + 5 * 16 + 8, 384:], state["pos_embed"][0, 1 + 5 * 8 + 4, 384:],
        atol=2e-2, rtol=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (250, 128)}, r"image size \(250, 128\): expected multiples of 16"),
        ({"width": 90, "heads": 9}, "width 90: expected a multiple of 4"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        HapPretraining(**{**TINY, **options})
