"""SMAP (Zhen et al., ECCV 2020): all people of an image from one pass of one network.

Runs the official networks and smap_lite alike: the bundle's manifest says how the outputs are
scaled. Heatmaps and part affinity fields are associated to people, bone depths and root depth
lift them to metres, and an optional RefineNet places the joints that were not seen. An optional
landmark network looks at each person again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from smap_ros.association import associate, associate_both
from smap_ros.association.config import NECK
from smap_ros.association.cuda.frame import DeviceFrame
from smap_ros.association.cuda.layout import shrink_factor
from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.second_look import SecondLookSpec
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.camera import Camera
from smap_ros.engines import Engine, create_engine
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.errors import InputError
from smap_ros.estimators.base import (
    NON_FINITE,
    Float,
    Image,
    ModelInfo,
    OutputCheck,
    StageTimer,
    check_view,
)
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.options import SmapConfig
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.second_look.lanes import Lanes
from smap_ros.estimators.second_look.learned import open_fusing
from smap_ros.estimators.second_look.look import SecondLook
from smap_ros.estimators.smap.associating import association_config
from smap_ros.estimators.smap.certainty import Told, certainty, evidence, plain_scores
from smap_ros.estimators.smap.device import device_frame, people_of
from smap_ros.estimators.smap.floor import Floor
from smap_ros.estimators.smap.lifting import (
    Lifted,
    LiftingConfig,
    lift,
    place,
    without_unplaced,
)
from smap_ros.estimators.smap.maps import Maps, MapScales
from smap_ros.estimators.smap.necks import rooted_at_pelvis, united, with_inferred
from smap_ros.estimators.smap.placement import Placement
from smap_ros.estimators.smap.refining import (
    check_refine,
    open_refine,
    refine_input,
    refine_output,
)
from smap_ros.estimators.smap.selection import LOW_SCORE, Limits, select_people
from smap_ros.estimators.smap.twice import BothLooks, Twice, as_one, corrected, look_again
from smap_ros.geometry.letterbox import Letterbox
from smap_ros.skeletons import MPI15, Skeleton


class SmapEstimator:
    """Runs bundles of kind ``smap``.

    Args:
        bundle: the bundle; its manifest gives the input and the outputs' scales.
        engine: its network, loaded.
        refine: its refining network, loaded, or None to do without.
        config: settings.
        second: looks at each person again, or None to do without.
        fuse: its network that makes one person of both looks, loaded, or None to do without.

    Raises:
        BundleError: if the bundle is of another kind, its association overrides are wrong, or
            the refining network doesn't map the numbers that the manifest says to 45.
    """

    skeleton: Skeleton = MPI15

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        refine: Engine | None = None,
        config: SmapConfig | None = None,
        second: SecondLook | None = None,
        fuse: Engine | None = None,
    ) -> None:
        self._manifest = manifest = manifest_of(bundle, SmapManifest)
        self.config = config or SmapConfig()
        self._engine = engine
        self._refine, self._second, self._fuse = refine, second, fuse
        if refine is not None:
            check_refine(manifest, refine)
        self._association = association_config(manifest, self.config)
        self._lifting = LiftingConfig(
            stride=manifest.stride,
            centred_pixels=manifest.centred_pixels,
            depth_by_size=manifest.depth_by_size,
        )
        self._at_necks = replace(self._lifting, root=NECK)
        self._from_necks = self.config.necks and "neck_depth" in manifest.outputs
        self._normaliser = Normaliser(manifest.input)
        self._scales = MapScales(manifest)
        wanted = self.config.flip_test
        self._flip_test = manifest.flip_test if wanted is None else wanted
        self._limits = Limits.of(self.config, manifest)
        self._floor = Floor.of(manifest) if self.config.on_floor else None
        self._placement = Placement(
            manifest,
            {
                "weight": self.config.size_prior_weight,
                "mean": self.config.size_prior_mean,
                "spread": self.config.size_prior_spread,
            },
        )
        self._check_outputs = OutputCheck()
        how = self.config, self._association, self._lifting, self._flip_test
        self._frame = device_frame(manifest, engine, *how)

    @classmethod
    def create(
        cls,
        bundle: Bundle,
        engine: str = "auto",
        threads: int = 0,
        precision: Precision = "f32",
        *,
        gpu: GpuOptions | None = None,
        **options: Any,
    ) -> SmapEstimator:
        """Load the bundle's networks; see :func:`smap_ros.estimators.create_estimator`."""
        config = SmapConfig(**options)
        manifest = manifest_of(bundle, SmapManifest)
        spec = manifest.second_look if config.second_look is not False else None
        if config.second_look and spec is None:
            raise InputError(
                f"second_look is on, but bundle {bundle.name!r} has no network for it; leave it "
                "out, or add one with smap-train second-look"
            )
        refine = second = fuse = None
        with ExitStack() as opened:  # closed again when a later step fails
            network = opened.enter_context(
                closing(create_engine(bundle, engine, threads, precision, gpu=gpu))
            )
            if config.refine and manifest.files.refine is not None:
                refine = opened.enter_context(closing(open_refine(bundle, network.name)))
            if spec is not None:
                budget = config.second_look_budget or 0.0
                lanes = Lanes.open(bundle, spec, network, threads, precision, gpu)
                second = SecondLook(spec, opened.enter_context(closing(lanes)), budget)
                refined = config.refine or manifest.files.refine is None
                if manifest.files.fuse is not None and refined:  # it has learned from such people
                    fuse = opened.enter_context(closing(open_fusing(bundle, network.name)))
            estimator = cls(bundle, network, refine, config, second, fuse)
            opened.pop_all()
        return estimator

    @property
    def about(self) -> ModelInfo:
        """Bundle, engine and device."""
        return ModelInfo.of(self._manifest, self._engine)

    @property
    def description(self) -> str:
        """The same in words."""
        return str(self.about)

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        """See :meth:`smap_ros.estimators.base.Estimator.estimate`."""
        timer = StageTimer()
        lifted = self.lifted(image, camera, timer)
        told = self._told(lifted, image, camera, timer)
        believed = tuple(body for body in told.bodies if body.score >= self._limits.min_score)
        dropped = Counter(lifted.dropped) + Counter({LOW_SCORE: len(told.bodies) - len(believed)})
        notes = told.notes
        if self._floor is not None:
            believed = self._floor(believed, camera)
            notes = {**notes, **self._floor.notes(camera)}
        return BodyFrame(
            believed, camera, stamp, dropped=dict(dropped), timings_ms=timer.ms, notes=notes
        )

    def told(self, image: Image, camera: Camera) -> Told:
        """Everybody found in an image, however uncertain, and what speaks for each."""
        return self._told(self.lifted(image, camera), image, camera, StageTimer())

    def lifted(self, image: Image, camera: Camera, timer: StageTimer | None = None) -> Lifted:
        """The people of :meth:`estimate` before they are refined, and their score leaves some out.

        Args:
            image, camera: as there.
            timer: takes the times of the stages.
        """
        image = check_view(image, camera)
        timer = timer or StageTimer()
        letterbox = self._letterbox(camera)
        if self._frame is not None and shrink_factor(letterbox) is not None:
            return self._believed(self._on_gpu(self._frame, image, camera, letterbox, timer))
        blob = self._normaliser(letterbox.apply(image))
        timer.lap("preprocess")
        seen = self._look(blob)
        timer.lap("network")
        bad = self._check_outputs(self.about, *(array for array in seen if array is not None))
        if bad:
            return Lifted.nobody({NON_FINITE: bad})
        lifted = self._placed_people(seen, camera, letterbox, timer)
        return self._believed(lifted)

    def looked_at_twice(self, image: Image, camera: Camera) -> Lifted:
        """The people of :meth:`lifted` as the refining network gets them at last.

        Joints in the picture are both looks', where the bundle has a second one.
        """
        lifted = self.lifted(image, camera)
        if self._second is None or not len(lifted):
            return lifted
        return self.as_one(self._look_again(image, camera, lifted), camera).lifted

    def both_looks(self, image: Image, camera: Camera) -> BothLooks | None:
        """The people of :meth:`lifted` as each look sees them; None without people, or a second."""
        lifted = self.lifted(image, camera)
        if self._second is None or not len(lifted):
            return None
        return self._look_again(image, camera, lifted)

    def as_one(self, looks: BothLooks, camera: Camera, spec: SecondLookSpec | None = None) -> Twice:
        """One person of both looks by the closed form, the bundle's or of another ``spec``."""
        assert self._second is not None
        second, scale = self._second, self._letterbox(camera).scale
        refined = None if self._refine is None else self._refined
        return as_one(looks, camera, spec or second.spec, scale, refined, second.budget_ms)

    def _corrected(self, looks: BothLooks, closed: Twice, camera: Camera) -> Twice:
        """As the fusing network has the people, if there is one."""
        fuse = self._fuse
        if fuse is None:
            return closed
        name, out = fuse.inputs[0].name, fuse.outputs[0].name
        return corrected(looks, closed, camera, lambda given: fuse.run({name: given})[out])

    def _look_again(self, image: Image, camera: Camera, lifted: Lifted) -> BothLooks:
        assert self._second is not None
        return look_again(self._second, image, camera, lifted, self._refined(lifted))

    def _on_gpu(
        self,
        frame: DeviceFrame,
        image: Image,
        camera: Camera,
        letterbox: Letterbox,
        timer: StageTimer,
    ) -> Lifted:
        """People in space, as the GPU finds them; to the last bit those of the other way."""
        block = frame.run(image, letterbox)
        timer.lap("network")  # and all before and behind it
        if block["bad"]:
            self._check_outputs.report(self.about, int(block["bad"]))
            return Lifted.nobody({NON_FINITE: int(block["bad"])})
        placing = partial(place, camera=camera, letterbox=letterbox)
        outputs = self._manifest.outputs
        lifted = without_unplaced(placing(*people_of(block, outputs), config=self._lifting))
        if not self._from_necks:
            return lifted
        necks = placing(*people_of(block, outputs, necks=True), config=self._at_necks)
        return self._united(lifted, necks, camera, letterbox)

    def _placed_people(
        self, seen: Maps, camera: Camera, letterbox: Letterbox, timer: StageTimer
    ) -> Lifted:
        """People in space: those with a pelvis, and those of whom only the neck is seen."""
        pelvis_spread, neck_spread = (
            (None, None) if seen.depth_spread is None else seen.depth_spread
        )
        lifting = partial(lift, bone_depth=seen.bone_depth, camera=camera, letterbox=letterbox)
        at_pelvis = partial(
            lifting,
            root_depth=seen.root_depth,
            config=self._lifting,
            poses=seen.poses,
            spread=pelvis_spread,
        )
        if not self._from_necks or seen.neck_depth is None:
            people = associate(seen.maps, seen.root_depth, config=self._association)
            timer.lap("association")
            return without_unplaced(at_pelvis(people))
        people, rest = associate_both(
            seen.maps, seen.root_depth, seen.neck_depth, config=self._association
        )
        timer.lap("association")
        if not len(rest):  # as a rule
            return without_unplaced(at_pelvis(people))
        necks = lifting(
            rest,
            root_depth=seen.neck_depth,
            config=self._at_necks,
            poses=seen.neck_poses,
            spread=neck_spread,
        )
        return self._united(without_unplaced(at_pelvis(people)), necks, camera, letterbox)

    @staticmethod
    def _united(people: Lifted, necks: Lifted, camera: Camera, letterbox: Letterbox) -> Lifted:
        """Both, each person once; ``necks`` as lifted from there."""
        necks = rooted_at_pelvis(without_unplaced(necks), camera, letterbox)
        return united(people, necks, camera.fx * letterbox.scale)

    def close(self) -> None:
        """Release the networks; harmless when done twice."""
        self._engine.close()
        for further in (self._refine, self._second, self._fuse):
            if further is not None:
                further.close()

    def _letterbox(self, camera: Camera) -> Letterbox:
        spec = self._manifest.input
        return Letterbox(camera.width, camera.height, spec.width, spec.height, spec.resize)

    def _look(self, blob: Float) -> Maps:
        """What the network makes of an image, or the mean of that and its mirror image."""
        name = self._manifest.input.name
        seen = self._scales(self._engine.run({name: blob}))
        if not self._flip_test:
            return seen
        straight = seen.copy()  # runtimes and scales use their buffers again
        mirrored = self._scales(self._engine.run({name: np.ascontiguousarray(blob[..., ::-1])}))
        return straight.mean_with_mirrored(mirrored)

    def _believed(self, lifted: Lifted) -> Lifted:
        """Without the people that the configuration rules out."""
        scores = np.clip(lifted.scores, 0, 1)
        keep, filtered = select_people(
            lifted.joints_3d[:, MPI15.root], scores > 0, plain_scores(scores), self._limits
        )
        dropped = dict(Counter(lifted.dropped) + Counter(filtered))
        return replace(lifted[keep], dropped=dropped)

    def _told(self, lifted: Lifted, image: Image, camera: Camera, timer: StageTimer) -> Told:
        """The people, refined and looked at again as the bundle can, nearest first."""
        first = scores = np.clip(lifted.scores, 0, 1)
        last = "lifting"
        if self._refine is not None or self._second is not None:
            timer.lap(last)
            last = "placement"
        joints = self._refined(lifted)
        if self._refine is not None:
            timer.lap("refine")
        notes: Mapping[str, float] = {}
        presence = None
        if self._second is not None:
            looks = look_again(self._second, image, camera, lifted, joints)
            twice = self._corrected(looks, self.as_one(looks, camera), camera)
            lifted, joints, scores = twice.lifted, twice.joints_3d, twice.scores
            notes, presence = twice.use.notes(), twice.presence
            timer.lap("second look")
        placed = self._placement(joints, lifted, scores, camera)
        joints, seen, pixels = with_inferred(placed.joints_3d, scores, lifted.joints_2d, camera)
        # A second look is sure of joints where nobody is, too: its scores say nothing here.
        known = partial(evidence, first, joints, placed.depth_std, camera, presence, lifted.shown)
        weights = self._manifest.person_score
        certain = plain_scores(scores) if weights is None else certainty(weights, known())
        rows = np.argsort(joints[:, MPI15.root, 2], kind="stable")  # refining moves people
        std = placed.depth_std
        bodies = tuple(
            Body(joints[k], pixels[k], seen[k], float(certain[k]), depth_std=float(std[k]))
            for k in rows.tolist()
        )
        timer.lap(last)
        return Told(bodies, lambda: known()[rows], notes)

    def _refined(self, lifted: Lifted) -> Float:
        """3D joints after the refining network, if there is one."""
        if self._refine is None or not len(lifted):
            return lifted.joints_3d
        manifest, refine = self._manifest, self._refine
        given = refine_input(lifted, self._lifting, manifest.refine_scores, manifest.refine_poses)
        output = refine.run({refine.inputs[0].name: given})[refine.outputs[0].name]
        return refine_output(output, lifted, self._lifting, manifest.refine_root)
