"""Protocol ``coco``: average precision of keypoints, as pycocotools measures it.

People are compared by object keypoint similarity (OKS): the mean over a true person's labelled
keypoints of exp(-d^2 / (2 (2 sigma)^2 area)). Our people have 12 of COCO's 17 keypoints; eyes,
ears and nose they lack. So there are two numbers: with these five taken as not labelled, and with
them as everybody else is measured, where each of the five that is labelled counts as missed.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.errors import InputError, reason
from smap_ros.evaluation.coco.truth import NUMBERS, PERSON, CocoPhoto, Json
from smap_ros.evaluation.common.jsonfiles import read_json
from smap_ros.markup import whole_number
from smap_ros.skeletons import COCO17, MPI15

Float = NDArray[np.float64]

LIMBS = tuple(k for k, name in enumerate(COCO17.joints) if name in MPI15.joints)
_OURS = [MPI15.index(COCO17.joints[k]) for k in LIMBS]
_SHOULDERS = [COCO17.index("l_shoulder"), COCO17.index("r_shoulder")]
_SAME = 0.5  # OKS from which on a person counts as found
# In the order of pycocotools' summary.
NAMES = ("AP", "AP50", "AP75", "AP medium", "AP large",
         "AR", "AR50", "AR75", "AR medium", "AR large")  # fmt: skip


@dataclass(frozen=True)
class Precision:
    """What pycocotools says of a set of keypoints.

    Attributes:
        summary: by :data:`NAMES`, percent; NaN where nobody of that size is labelled.
        recall: float64 [101], where the curves are sampled.
        curves: precision there by OKS threshold, percent.
    """

    summary: Mapping[str, float]
    recall: Float
    curves: Mapping[str, Float]


@dataclass(frozen=True)
class Similarity:
    """True people one by one, each with whoever is most similar in their picture.

    Attributes:
        people: true people with a labelled keypoint among the 12.
        found: of them, those with an OKS of at least 0.5.
        oks: mean over the people; nobody in the picture is 0.
        joints: mean similarity of the found people's labelled keypoints, by name, percent.
        labelled: how many these are.
    """

    people: int
    found: int
    oks: float
    joints: Mapping[str, float]
    labelled: Mapping[str, int]


class OfficialResults:
    """Results as COCO takes them: a list of ``image_id``, ``keypoints`` [51] and ``score``.

    ``category_id``, where an entry has it, is that of a person.

    Attributes:
        description: for people to read.

    Raises:
        InputError: if the file is malformed, or of another category.
    """

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._by_photo: dict[int, list[dict[str, Any]]] = {}
        for k, entry in enumerate(read_json(path)):
            try:
                points = np.array(entry["keypoints"], np.float64)
                if points.shape != (NUMBERS,) or not np.isfinite([*points, entry["score"]]).all():
                    raise ValueError("keypoints aren't 51 numbers, or score is none")
                found = detection(points.reshape(-1, 3), float(entry["score"]))
                _check_category(entry)
                self._by_photo.setdefault(whole_number(entry["image_id"]), []).append(found)
            except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
                raise InputError(
                    f"{path}, entry {k} is malformed ({reason(error)}); expected image_id, "
                    "keypoints [51] and score, or a bodies.json"
                ) from error

    @staticmethod
    def found(path: Path) -> bool:
        """Whether a file holds such results, and not a bodies.json."""
        return path.suffix == ".json" and path.is_file() and isinstance(read_json(path), list)

    def check(self, photos: Sequence[CocoPhoto]) -> None:
        """Refuse results of photos that the data set lacks: they were made of another one.

        Args:
            photos: all of the data set.

        Raises:
            InputError: if there are such.
        """
        other = sorted(self._by_photo.keys() - {photo.number for photo in photos})
        if other:
            raise InputError(
                f"{self.description} has people of {len(other)} photos that the data set lacks "
                f"(the first is image_id {other[0]}); give the results and the annotations of one "
                "set of COCO"
            )

    def people(self, photo: CocoPhoto) -> list[dict[str, Any]]:
        """The detections of a photo; none where nobody was found."""
        return self._by_photo.get(photo.number, [])

    def close(self) -> None:
        """Nothing is held."""


def _check_category(entry: Json) -> None:
    if whole_number(entry.get("category_id", PERSON)) != PERSON:
        raise ValueError(f"category_id is {entry['category_id']}, that of a person is {PERSON}")


def detection(points: Float, score: float) -> dict[str, Any]:
    """A person as pycocotools takes them, with box and area of the keypoints that were found.

    Args:
        points: float64 [17, 3], x, y, anything; NaN where not found.
        score: of the person.
    """
    there = np.isfinite(points[:, 0])
    seen = points[there, :2] if there.any() else np.zeros((1, 2))
    low, high = seen.min(axis=0), seen.max(axis=0)
    placed = np.where(there[:, None], points, (*_far_corner(points, low, high), 0))
    return {
        "category_id": PERSON, "keypoints": placed.ravel().tolist(), "score": score,
        "bbox": [*low.tolist(), *(high - low).tolist()], "area": float(np.prod(high - low)),
        "iscrowd": 0,
    }  # fmt: skip


def _far_corner(points: Float, low: Float, high: Float) -> Float:
    """The corner of a person's box where keypoints are put that weren't found, float64 [2].

    Where hardly any is: far from the shoulders, for a head must match nothing. But with the others:
    who stands in a crowd, or has no labelled keypoint, is told by all 17 being there.
    """
    for rows in (points[_SHOULDERS], points):
        known = rows[np.isfinite(rows[:, 0]), :2]
        if len(known):
            corners = np.array([(x, y) for y in (low[1], high[1]) for x in (low[0], high[0])])
            away = np.linalg.norm(corners - known.mean(axis=0), axis=1)
            return np.asarray(corners[away.argmax()], np.float64)
    return low


def detected(body: Body) -> dict[str, Any]:
    """One of our people as a detection."""
    points = np.full((len(COCO17), 3), np.nan)
    seen = body.scores[_OURS] > 0
    points[LIMBS, :2] = np.where(seen[:, None], body.joints_2d[_OURS], np.nan)
    points[LIMBS, 2] = np.where(seen, body.scores[_OURS], np.nan)
    return detection(points, float(body.score))


def only_limbs(label: Json) -> dict[str, Any]:
    """A true person whose eyes, ears and nose aren't labelled."""
    points = np.reshape(label["keypoints"], (-1, 3)).astype(np.float64)
    points[[k for k in range(len(COCO17)) if k not in LIMBS]] = 0
    count = int(np.count_nonzero(points[:, 2]))
    return {**label, "keypoints": points.ravel().tolist(), "num_keypoints": count}


def require_pycocotools() -> tuple[Any, Any]:
    """Its two classes, COCO and COCOeval.

    Raises:
        InputError: if it isn't installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise InputError(
            "protocol coco is measured by pycocotools: pip install 'smap-ros[evaluate]'"
        ) from error
    return COCO, COCOeval


def measured(
    photos: Sequence[CocoPhoto], labels: Sequence[Json], people: Sequence[Json]
) -> tuple[Precision, Similarity]:
    """What pycocotools says of detections.

    Args:
        photos: that were looked at.
        labels: of the people in them.
        people: detections with their ``image_id``.

    Raises:
        InputError: if pycocotools isn't installed.
    """
    coco, coco_eval = require_pycocotools()
    sets = []
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        for entries in (labels, people):
            half = coco()
            half.dataset = {
                "images": [{"id": photo.number} for photo in photos],
                "categories": [{"id": PERSON, "name": "person"}],
                "annotations": [{**entry, "id": k + 1} for k, entry in enumerate(entries)],
            }
            half.createIndex()
            sets.append(half)
        run = coco_eval(*sets, "keypoints")
        run.params.imgIds = [photo.number for photo in photos]
        run.evaluate()
        run.accumulate()
        run.summarize()
    return _precision(run), _similarity(run)


def _precision(run: Any) -> Precision:
    stats = np.where(run.stats < 0, np.nan, 100 * run.stats)
    curves = run.eval["precision"][:, :, 0, 0, 0]  # [thresholds, recalls], all sizes
    shown = {f"OKS {t:.2f}": k for k, t in enumerate(run.params.iouThrs) if k in (0, 5, 8)}
    return Precision(
        summary=dict(zip(NAMES, stats.tolist(), strict=True)),
        recall=np.asarray(run.params.recThrs, np.float64),
        curves={
            name: np.where(curves[k] < 0, np.nan, 100 * curves[k]) for name, k in shown.items()
        },
    )


def _similarity(run: Any) -> Similarity:
    """People by the similarities that the run holds."""
    sigmas = np.asarray(run.params.kpt_oks_sigmas, np.float64)
    best: list[float] = []
    joints: list[list[float]] = [[] for _ in COCO17.joints]
    for number in run.params.imgIds:
        true = run._gts[number, PERSON]
        ranked = sorted(run._dts[number, PERSON], key=lambda d: -float(d["score"]))
        found = ranked[: run.params.maxDets[-1]]
        oks = np.reshape(run.ious[number, PERSON], (len(found), len(true)))
        for k, label in enumerate(true):
            if label["ignore"]:
                continue
            best.append(float(oks[:, k].max(initial=0.0)))
            if best[-1] >= _SAME:
                similar = keypoint_similarity(label, found[int(oks[:, k].argmax())], sigmas)
                for joint, value in enumerate(similar):
                    if not math.isnan(value):
                        joints[joint].append(float(value))
    named = {COCO17.joints[k]: joints[k] for k in LIMBS}
    return Similarity(
        people=len(best),
        found=sum(value >= _SAME for value in best),
        oks=float(np.mean(best)) if best else math.nan,
        joints={name: 100 * float(np.mean(v)) if v else math.nan for name, v in named.items()},
        labelled={name: len(values) for name, values in named.items()},
    )


def keypoint_similarity(label: Json, found: Json, sigmas: Float) -> Float:
    """Similarity of each keypoint, float64 [17]; NaN where not labelled."""
    true, points = (np.reshape(entry["keypoints"], (-1, 3)) for entry in (label, found))
    square = ((true[:, :2] - points[:, :2]) ** 2).sum(axis=1)
    spread = 2 * (2 * sigmas) ** 2 * (label["area"] + np.spacing(1))
    return np.where(true[:, 2] > 0, np.exp(-square / spread), np.nan)


@dataclass(frozen=True)
class CocoOutcome:
    """Predictions against the data set.

    Attributes:
        limbs: of the 12 keypoints that our people have, the others taken as not labelled.
        all: of all 17.
        people: one by one, by the 12.
        predicted: people predicted in all.
        photos: that were predicted.
        skipped: photos that the predictions lack; they don't count.
    """

    limbs: Precision
    all: Precision
    people: Similarity
    predicted: int
    photos: int
    skipped: int


# The people of a photo as detections; None if it wasn't looked at.
Detect = Callable[[CocoPhoto], Sequence[Json] | None]


def evaluate(
    detect: Detect, photos: Sequence[CocoPhoto], on_photo: Callable[[], None] = lambda: None
) -> CocoOutcome:
    """Compare detections with the data set.

    Args:
        detect: who was found.
        photos: who is there.
        on_photo: called after each photo, for progress.

    Raises:
        InputError: if no photo was predicted, or pycocotools isn't installed.
        SmapError: if a picture or the predictions can't be used.
    """
    seen: list[CocoPhoto] = []
    people: list[dict[str, Any]] = []
    for photo in photos:
        found = detect(photo)
        on_photo()
        if found is not None:
            seen.append(photo)
            people += [{**person, "image_id": photo.number} for person in found]
    labels = [label for photo in seen for label in photo.people]
    limbs, similarity = measured(seen, [only_limbs(label) for label in labels], people)
    whole, _ = measured(seen, labels, people)
    return CocoOutcome(limbs, whole, similarity, len(people), len(seen), len(photos) - len(seen))
