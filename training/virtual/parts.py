"""What the renderer draws: meshes with a material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RGB = tuple[float, float, float]
WHITE: RGB = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Material:
    """How a surface reflects.

    Attributes:
        texture: name in the texture bank; the albedo is texture x tint.
        tint: linear RGB factor.
        grey: 0 keeps the texture's colours, 1 uses only its brightness (recolouring).
        pattern: texture whose brightness blends ``tint`` into ``tint2``; "" for none.
        pattern_scale: repetitions of the pattern per unit of texture coordinate.
        gloss: strength of the highlight.
        alpha_cut: texels with less alpha are holes.
        two_sided: light the back face as the front.
    """

    texture: str = "plain"
    tint: RGB = WHITE
    grey: float = 0.0
    pattern: str = ""
    tint2: RGB = WHITE
    pattern_scale: float = 1.0
    gloss: float = 0.03
    alpha_cut: float = 0.0
    two_sided: bool = False


@dataclass(frozen=True)
class Part:
    """A triangle mesh in the world.

    Attributes:
        positions, normals: float32 [N, 3]; uv: float32 [N, 2].
        faces: int32 [T, 3].
        material: its look.
        label: 0 for the surroundings, k + 1 for person k.
        shadow: whether it casts a shadow.
        faces_key: name under which the renderer may keep ``faces`` between frames; "" if
            the faces are of this frame only.
    """

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    faces: NDArray[np.int32]
    material: Material
    label: int = 0
    shadow: bool = True
    faces_key: str = ""


def merged(parts: list[Part]) -> list[Part]:
    """The same surfaces with one part for each material, label and shadow setting."""
    groups: dict[tuple[Material, int, bool], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.material, part.label, part.shadow), []).append(part)
    out = []
    for (material, label, shadow), members in groups.items():
        starts = np.cumsum([0] + [len(m.positions) for m in members[:-1]])
        out.append(
            Part(
                np.concatenate([m.positions for m in members]),
                np.concatenate([m.normals for m in members]),
                np.concatenate([m.uv for m in members]),
                np.concatenate([m.faces + s for m, s in zip(members, starts, strict=True)]),
                material,
                label,
                shadow,
            )
        )
    return out
