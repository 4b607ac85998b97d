"""Whether an engine on a GPU answers what one on a CPU answers, asked with a stored picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from smap_ros.bundles.manifest.common import CropInput, ImageInput, ImageManifest, Manifest
from smap_ros.engines.base import Array, Engine, TensorSpec, zeros
from smap_ros.engines.names import Precision
from smap_ros.errors import EngineError
from smap_ros.paths import config_directory

# The largest difference of an output over its largest value. Weights and activations in half
# precision move smap_lite's outputs by 2e-3; ten times that is not rounding any more.
LIMITS: dict[Precision, float] = {"f32": 1e-3, "tf32": 1e-2, "f16": 2e-2, "auto": 2e-2}

# The square about the man in the middle of the stored picture, rows and columns, pixels.
_SOMEBODY = slice(55, 315), slice(310, 570)

Answers = Mapping[str, Array]


class WrongAnswerError(EngineError):
    """An engine's answer is not that of the CPU: what it was built of is not to be used again."""


def check_answers(
    inputs: Answers,
    engine: Engine,
    reference: Engine,
    precision: Precision,
    shown: Callable[[Answers], Answers] = dict,
) -> float:
    """How far an engine's answer is from the reference's, see :func:`disagreement`.

    Args:
        inputs: what both are asked.
        engine, reference: the two.
        precision: of the engine.
        shown: what of the answers is to be compared; all, if it is not stated.

    Raises:
        WrongAnswerError: if it is above the limit of the precision, or the two have other outputs.
        EngineError: if one of the two fails.
    """
    expected = shown({name: array.copy() for name, array in reference.run(inputs).items()})
    got = shown(engine.run(inputs))
    if _shapes(got) != _shapes(expected):
        raise WrongAnswerError(
            f"{engine.name}'s network has the outputs {_shapes(got)}, {reference.name}'s "
            f"{_shapes(expected)}: the bundle's graphs don't belong together. Export it again"
        )
    error, worst = disagreement(got, expected)
    if not error <= LIMITS[precision]:
        finer = {"f32": "another engine", "tf32": "precision f32"}.get(precision, "precision tf32")
        raise WrongAnswerError(
            f"{engine.name}'s answer to a test picture is wrong: {worst} differs from "
            f"{reference.name}'s by {error:.1e} of its range, at most {LIMITS[precision]:g} is "
            f"expected with precision {precision}. Use {finer}"
        )
    return error


def drawn_inputs(specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Inputs for a network that nothing is known of: 0 to 1, the same each time; free sizes 1."""
    rng = np.random.default_rng(0)
    empty = zeros(specs)
    return {n: rng.random(a.shape, np.float32).astype(a.dtype) for n, a in empty.items()}


def picture_inputs(manifest: Manifest) -> dict[str, Array]:
    """Inputs of a bundle's network that show people: the first image of the demo's clip.

    What else it takes (guides, sizes; all of a smoother's) is drawn, the same each time.
    """
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {
        name: rng.random(shape, np.float32) for name, shape in manifest.network_inputs.items()
    }
    if isinstance(manifest, ImageManifest):
        inputs |= image_inputs(manifest.input)
    return inputs


def image_inputs(spec: ImageInput) -> dict[str, Array]:
    """An image input that shows people: the stored picture, or of crops the square about one.

    In noise, or in a whole picture squeezed into a crop, a network of crops sees nobody. What it
    answers then is near 0, and rounding alone is much of that.
    """
    image = _picture()[_SOMEBODY] if isinstance(spec, CropInput) else _picture()
    image = cv2.resize(image, (spec.width, spec.height), interpolation=cv2.INTER_AREA)
    if spec.color == "rgb":
        image = image[..., ::-1]
    values = (image / 255.0 * spec.white - np.array(spec.mean)) / np.array(spec.std)
    return {spec.name: np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)}


def disagreement(got: Mapping[str, Array], expected: Mapping[str, Array]) -> tuple[float, str]:
    """The largest difference of any output over that output's largest value, and which output."""
    errors = {}
    for name, array in expected.items():
        known = np.isfinite(array)
        scale = float(np.abs(array[known]).max(initial=0)) or 1.0
        difference = np.abs(got[name].astype(np.float64) - array)[known].max(initial=0)
        errors[name] = float(difference / scale) if np.isfinite(difference) else np.inf
    worst = max(errors, key=lambda name: errors[name])
    return errors[worst], worst


def _shapes(answers: Answers) -> dict[str, tuple[int, ...]]:
    return {name: answers[name].shape for name in sorted(answers)}


def _picture() -> Array:
    """The stored picture, uint8 [h, w, 3], bgr."""
    import av

    with av.open(str(config_directory() / "demo" / "clip.mp4")) as clip:
        frame = next(clip.decode(video=0))
        return np.asarray(frame.to_ndarray(format="bgr24"))
