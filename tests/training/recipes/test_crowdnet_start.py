"""What 3DCrowdNet starts from: bodies, spaces of poses and backbones, and files that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.crowdnet import vit
from smap_train.models.crowdnet.vit import HapBackbone
from smap_train.models.crowdnet.vposer import VPoser
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.hap import HapPretraining
from smap_train.models.layers.smpl import PARENTS
from smap_train.recipes.crowdnet import take_pretrained

from .tiny import tiny

SIZE = {"depth": 18, "stem_width": 8}
RUN = {"virtual": [], "resnet": SIZE}
HAP = {"image_size": (64, 32), "depth": 2, "decoder_width": 32, "decoder_depth": 1}


@pytest.fixture(scope="module")
def smpl(tmp_path_factory):
    """The folder of a user whose body is twice as large as the stand-in."""
    folder, body = tmp_path_factory.mktemp("smpl"), synthetic_body()
    np.savez(
        folder / "SMPL_NEUTRAL.npz", v_template=2 * body.v_template, shapedirs=body.shapedirs,
        posedirs=body.posedirs, J_regressor=body.joint_regressor, weights=body.weights,
        f=body.faces, kintree_table=np.array([PARENTS, range(24)]),
    )  # fmt: skip
    np.save(folder / "J_regressor_extra.npy", synthetic_regressor("other", 9))
    return folder


def saved(path, network, *, body=True):
    weights = network.state_dict()
    for key in weights if not body else ():
        if key.startswith("human_model_layer.") and weights[key].is_floating_point():
            weights[key] = torch.full_like(weights[key], torch.nan)
    save_checkpoint(path, "crowdnet", weights, **SIZE)
    return path


def size(network):
    template = network.human_model_layer.th_v_template
    return float(np.ptp(template[0].numpy()[:, 1]) / np.ptp(synthetic_body().v_template[:, 1]))


def head_top_is(network, name):
    row = torch.from_numpy(synthetic_regressor(name, 9)[3:4]).float()
    return torch.equal(network.human_model_layer.head_top_regressor, row)


@pytest.mark.parametrize("body", [True, False], ids=["stand-in", "none"])
def test_the_users_body_counts_whatever_the_weights_were_trained_with(tmp_path, smpl, body):
    path = saved(tmp_path / "crowdnet.pth", tiny("crowdnet", tmp_path, **RUN).network(), body=body)
    own = tiny("crowdnet", tmp_path, **RUN, smpl=smpl, initial=path).network()
    assert size(own) == pytest.approx(2) and head_top_is(own, "other")
    without = tiny("crowdnet", tmp_path, **RUN, initial=path).network()
    assert size(without) == pytest.approx(1) and head_top_is(without, "J_regressor_extra")


def test_weights_with_a_real_body_need_the_users_own(tmp_path, smpl):
    made = tiny("crowdnet", tmp_path, **RUN, smpl=smpl).network()
    path = saved(tmp_path / "crowdnet.pth", made)
    assert size(tiny("crowdnet", tmp_path, **RUN, smpl=smpl, initial=path).network()) > 1.9
    with pytest.raises(
        InputError, match=r"crowdnet\.pth holds a body .*J_regressor_extra.*Set smpl"
    ):
        tiny("crowdnet", tmp_path, **RUN, initial=path).network()


def test_the_users_vposer_counts_as_well(tmp_path):
    path = saved(tmp_path / "crowdnet.pth", tiny("crowdnet", tmp_path, **RUN).network())
    torch.manual_seed(1)
    own = VPoser().vposer.state_dict()
    torch.save(own, tmp_path / "vposer.pt")
    made = tiny("crowdnet", tmp_path, **RUN, initial=path, vposer=tmp_path / "vposer.pt").network()
    assert all(torch.equal(v, own[k]) for k, v in made.vposer.vposer.state_dict().items())


def hap(path, **options):
    chosen = {**HAP, **options}
    torch.manual_seed(0)
    network = HapPretraining(**chosen)
    save_checkpoint(path, "hap_pretraining", network.state_dict(), **chosen)
    return network


def test_a_pre_training_of_any_pictures_fills_the_transformer(tmp_path, monkeypatch):
    monkeypatch.setattr(vit, "DEPTH", 2)
    backbone, given = HapBackbone(), hap(tmp_path / "hap.pth")
    take_pretrained(backbone, tmp_path / "hap.pth")
    for k in range(2):
        theirs, ours = given.blocks[k].state_dict(), backbone.blocks[k].state_dict()
        assert all(torch.equal(value, ours[key]) for key, value in theirs.items())
    torch.testing.assert_close(backbone.pos_embed[:, 0], given.pos_embed[:, 0])


def test_other_files_than_a_pre_training_of_that_size_are_refused_in_words(tmp_path):
    with torch.device("meta"):
        backbone = HapBackbone()
    hap(tmp_path / "tiny.pth", width=64, heads=4)
    words = r"tiny\.pth is no ViT-B/16:\n\d+ missing.*pos_embed: got .*64.*set backbone_weights to"
    with pytest.raises(InputError, match=f"(?s){words}"):
        take_pretrained(backbone, tmp_path / "tiny.pth")
    other = create("mobilehuman", joints=15, width=0.25)
    save_checkpoint(
        tmp_path / "other.pth", "mobilehuman", other.state_dict(), joints=15, width=0.25
    )
    with pytest.raises(InputError, match=r"holds model 'mobilehuman'; expected 'hap_pretraining'"):
        take_pretrained(backbone, tmp_path / "other.pth")
