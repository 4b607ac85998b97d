"""MakeHuman garments, on a folder made for the test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_train.virtual.makehuman import HELD_OUT_ASSETS, MakeHumanWardrobe
from smap_train.virtual.outfits import worn
from smap_train.virtual.parts import Material
from smap_train.virtual.posing import at_rest
from smap_train.virtual.textures import TextureBank

BOUND = (100, 101, 102, 103)  # base vertices that the test garment is bound to
OFFSET_ROW = "100 101 102 0.5 0.25 0.25 1.0 2.0 3.0"


def write_garment(folder: Path, name: str, rows: list[str], deleted: str = "") -> None:
    home = folder / name
    home.mkdir(parents=True)
    (home / f"{name}.mhclo").write_text(
        f"# test\nname {name}\nobj_file {name}.obj\nx_scale 5399 11998 2.0\n"
        "z_scale 962 5320 2.0\ny_scale 791 881 2.0\nverts 0\n"
        f"material {name}.mhmat\n" + "\n".join(rows) + f"\ndelete_verts\n{deleted}\n"
    )
    (home / f"{name}.mhmat").write_text("diffuseTexture cloth.png\nshininess 0.2\n")
    (home / f"{name}.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
    )
    # The material names a .png, the folder has .webp: textures are often converted.
    cv2.imwrite(str(home / "cloth.webp"), np.full((8, 8, 3), 90, np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    exact = [str(v) for v in BOUND]
    write_garment(tmp_path / "clothes", "male_suit", exact, "100 - 102 7")
    write_garment(tmp_path / "clothes", "female_suit", [*exact[:3], OFFSET_ROW])
    write_garment(tmp_path / "hair", "short01", exact)
    (tmp_path / "skins" / "a").mkdir(parents=True)
    for sex in ("male", "female"):
        path = tmp_path / "skins" / "a" / f"young_{sex}_diffuse.webp"
        cv2.imwrite(str(path), np.full((8, 8, 3), 128, np.uint8))
    return tmp_path


def test_garment_is_bound_to_the_body(folder, pool):
    wardrobe = MakeHumanWardrobe(folder, pool.model, TextureBank())
    [suit] = wardrobe._suits["male"]
    for body in (pool[0], pool[5]):
        np.testing.assert_allclose(suit.fitted(body), body.vertices[list(BOUND)], atol=1e-6)
    assert suit.hidden == {7, 100, 101, 102}
    np.testing.assert_allclose(suit.weights, pool.model.weights[list(BOUND)], atol=1e-6)


def test_offsets_grow_with_the_body(folder, pool):
    wardrobe = MakeHumanWardrobe(folder, pool.model, TextureBank())
    [suit] = wardrobe._suits["female"]
    body = pool[2]
    v = body.vertices
    # MakeHuman's x, y (up), z (front) are the body's x, z, -y.
    size = [
        abs(v[a, k] - v[b, k]) / 2 for a, b, k in ((5399, 11998, 0), (962, 5320, 1), (791, 881, 2))
    ]
    bound = 0.5 * v[100] + 0.25 * v[101] + 0.25 * v[102]
    expected = bound + (1.0 * size[0], -3.0 * size[1], 2.0 * size[2])
    np.testing.assert_allclose(suit.fitted(body)[3], expected, atol=1e-6)


def test_dressed_body_hides_covered_skin(folder, pool):
    wardrobe = MakeHumanWardrobe(folder, pool.model, TextureBank())
    man = next(pool[k] for k in range(len(pool)) if not pool.female[k])
    parts = worn(wardrobe.dress(man, np.random.default_rng(0)), at_rest(man), 4)
    assert {part.label for part in parts} == {4}
    skin = parts[0]
    shown = skin.positions[np.unique(skin.faces)]
    for hidden in (100, 101, 102):
        assert np.linalg.norm(shown - man.vertices[hidden], axis=1).min() > 1e-4


def test_splits_share_no_garment_and_no_skin(folder, pool):
    exact = [str(v) for v in BOUND]
    for name in ("male_worksuit01", "female_sportsuit01"):
        assert name in HELD_OUT_ASSETS
        write_garment(folder / "clothes", name, exact)
    for name, sex in (("old_african_male", "male"), ("young_caucasian_female2", "female")):
        (folder / "skins" / name).mkdir()
        image = np.full((8, 8, 3), 128, np.uint8)
        cv2.imwrite(str(folder / "skins" / name / f"{name[-1]}_{sex}_diffuse.webp"), image)
    train, held, every = (
        MakeHumanWardrobe(folder, pool.model, TextureBank(), split)
        for split in ("train", "held_out", "all")
    )
    for sex in ("male", "female"):
        names = [{g.name for g in w._suits[sex]} for w in (train, held, every)]
        assert names[0] & names[1] == set()
        assert names[0] | names[1] == names[2]
        assert names[1] <= HELD_OUT_ASSETS
        skins = [set(w._skins[sex]) for w in (train, held, every)]
        assert skins[0] & skins[1] == set()
        assert skins[0] | skins[1] == skins[2]
        assert all(len(some) == 1 for some in skins[:2])


def test_a_split_without_clothes_is_refused(folder, pool):
    with pytest.raises(InputError, match=r"no clothes named male\* in the split 'held_out'"):
        MakeHumanWardrobe(folder, pool.model, TextureBank(), "held_out")


def test_garments_without_colours_use_their_shade_and_hats_none(folder, pool):
    material = folder / "clothes" / "male_suit" / "male_suit.mhmat"
    material.write_text("diffuseTexture gone.png\naomapTexture cloth.png\n")
    write_garment(folder / "clothes", "fedora01", [str(v) for v in BOUND])
    (folder / "clothes" / "fedora01" / "fedora01.mhmat").write_text("shininess 0.2\n")
    textures = TextureBank()
    wardrobe = MakeHumanWardrobe(folder, pool.model, textures)
    [suit] = wardrobe._suits["male"]
    assert (textures[suit.texture][..., :3] == 90).all()
    [hat] = wardrobe._hats
    assert hat.texture == "plain"
    man = next(pool[k] for k in range(len(pool)) if not pool.female[k])
    pieces = [len(wardrobe.dress(man, np.random.default_rng(k))) for k in range(60)]
    assert len(set(pieces)) > 1, "some wear it"


def test_incomplete_folders_are_refused(folder, pool):
    with pytest.raises(InputError, match=r"no clothes named male\*"):
        MakeHumanWardrobe(folder / "nothing", pool.model, TextureBank())
    (folder / "clothes" / "male_suit" / "male_suit.obj").unlink()
    with pytest.raises(InputError, match=r"can't read the MakeHuman garment"):
        MakeHumanWardrobe(folder, pool.model, TextureBank())


def test_garments_and_skins_of_one_name_are_told_apart(folder, pool):
    """A folder with two garments, hair called as clothes are, and skins with one name of files."""
    exact = [str(v) for v in BOUND]
    home, bank = folder / "clothes" / "male_suit", TextureBank()
    for end in ("mhclo", "mhmat", "obj"):
        text = (home / f"male_suit.{end}").read_text()
        text = text.replace("male_suit", "other").replace(f"{BOUND[0]}\n", f"{BOUND[1]}\n")
        (home / f"other.{end}").write_text(text.replace("cloth.png", "other.png"))
    cv2.imwrite(str(home / "other.webp"), np.full((8, 8, 3), 200, np.uint8))
    write_garment(folder / "hair", "male_suit", exact)
    (folder / "skins" / "b").mkdir()
    cv2.imwrite(str(folder / "skins" / "b" / "young_male_diffuse.webp"), np.zeros((8, 8, 3), "u1"))
    wardrobe = MakeHumanWardrobe(folder, pool.model, bank)
    suits, hair = wardrobe._suits["male"], wardrobe._hair["female"]
    assert len({garment.key for garment in (*suits, *hair)}) == len(suits) + len(hair) == 4
    assert [int(bank[suit.texture][0, 0, 0]) // 50 for suit in suits] == [1, 4]
    body = pool[0]
    for suit in (*suits, *suits):
        piece = wardrobe._piece(suit, body, Material())
        np.testing.assert_allclose(piece.points, suit.fitted(body)[suit.position])
    assert sorted(int(bank[skin].mean()) for skin in wardrobe._skins["male"]) == [63, 159]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (f"\n{BOUND[0]}\n", "\n999999\n", "bound to vertices that aren't among"),
        (f"\n{BOUND[0]}\n", "\n1 2 3 nan 0 0 0 0 0\n", "no numbers above 0"),
        (f"\n{BOUND[0]}\n", "\n", "its faces have vertices that aren't among the 3"),
        ("11998 2.0", "11998 0", "no numbers above 0"),
        ("100 - 102", "99999", "bound to vertices that aren't among"),
    ],
)
def test_damaged_garments_are_refused(folder, pool, old, new, complaint):
    path = folder / "clothes" / "male_suit" / "male_suit.mhclo"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=complaint):
        MakeHumanWardrobe(folder, pool.model, TextureBank())


def test_pictures_of_any_depth_and_shape_become_textures(tmp_path):
    deep = np.full((4, 4, 4), 40_000, np.uint16)
    pictures = {"deep": deep[..., :3], "clear": deep, "grey": deep[..., 0].copy()}
    pictures["long"] = np.full((2, 4000, 3), 156, np.uint8)
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    bank = TextureBank(tmp_path)
    for name in bank.names("photo"):
        texture = bank[name]
        assert texture.dtype == np.uint8
        assert texture.shape[2] == 4
        assert min(texture.shape[:2]) >= 1
        assert abs(int(texture[0, 0, 0]) - 156) <= 1


def test_photos_stand_the_way_up_that_their_camera_noted(tmp_path):
    from PIL import Image

    picture = Image.new("RGB", (40, 20), (200, 0, 0))
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "photo.jpg", exif=exif)
    assert TextureBank(tmp_path)["photo/0"].shape == (40, 20, 4)
