"""The page in the browser: what it shows, and the controls that all who look share.

Updates of one thing replace each other on the way to a browser that is slow, so that each shows
the newest.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import cv2
import numpy as np
import viser
from numpy.typing import NDArray
from trimesh import Trimesh, creation

from smap_ros.bodies import Mesh
from smap_ros.camera import Camera
from smap_ros.view import scene
from smap_ros.view.access import LOOPBACK
from smap_ros.view.scene import FIELD_OF_VIEW, View
from smap_ros.view.server import Server
from smap_ros.viz.colors import BACKGROUND, GRID, MUTED, mix, person_color

Number = TypeVar("Number", bound=np.generic)

DEFAULT_PORT = 8080
PICTURE_WIDTH = 640  # pixels that are sent of a picture
JPEG_QUALITY = 75
JOINT_RADIUS, LIMB_RADIUS = 0.045, 0.026  # metres
_LOT = 64  # balls and rods are made so many at a time; those of no use have no size
_CELLS, _SECTIONS = mix(GRID, BACKGROUND, 0.5), GRID

CHOICES = {
    "people": "people",
    "labels": "ids and distances",
    "trails": "trails",
    "picture": "camera and picture",
    "surfaces": "surfaces",
    "floor": "floor",
    "shadows": "shadows",
}
_OFF = ("shadows",)  # at the start: they take half of the time where there is no GPU


class Page:
    """Serves the page; what it shows is set from any thread.

    Args:
        host, port: where; port 0 takes a free one.
        changed: called when somebody ticks a box.

    Raises:
        InputError: if the server can't listen there.
    """

    def __init__(
        self,
        host: str = LOOPBACK,
        port: int = DEFAULT_PORT,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._server = Server(host, port)
        self.host, self.port = host, self._server.get_port()
        self._lock = threading.Lock()
        self._view: View | None = None
        self._aimed_at: int | None = None
        self._camera: Camera | None = None
        self._image: NDArray[np.uint8] | None = None  # the last, shown or not
        self._picture: viser.ImageHandle | None = None
        self._labels: list[viser.LabelHandle] = []
        self._meshes: Mapping[int, Mesh] = {}  # the last, shown or not
        self._surfaces: dict[int, viser.MeshHandle] = {}
        self._furnish()
        self._make_controls(changed)

    @property
    def gui(self) -> viser.GuiApi:
        """For further controls in the panel."""
        return self._server.gui

    @property
    def clients(self) -> list[int]:
        """Numbers of the browsers that are there."""
        return list(self._server.get_clients())

    @property
    def watched(self) -> bool:
        """Whether a browser is there."""
        return bool(self.clients)

    def wants(self, choice: str) -> bool:
        """Whether the box of that name in ``CHOICES`` is ticked."""
        return bool(self._boxes[choice].value)

    def close(self) -> None:
        """Stop serving."""
        self._server.stop()

    # --- what is shown --------------------------------------------------------------------------

    def show(self, view: View) -> None:
        """Show the people of a frame."""
        with self._lock, self._server.atomic():
            self._view = view
            self._stand(view)
            self._show_people(view)
            self._show_trails(view)
            self._aim(view)

    def show_picture(self, image: NDArray[np.uint8] | None) -> None:
        """Show a picture in the camera's frustum; once :meth:`show` has told the camera.

        Args:
            image: uint8 [H, W, 3], bgr; None for none.
        """
        with self._lock:
            self._image = image
            self._put_picture()

    def show_surfaces(self, meshes: Mapping[int, Mesh]) -> None:
        """Show the surfaces of people, by id, and no others."""
        with self._lock, self._server.atomic():
            self._meshes = meshes
            self._put_surfaces()

    def show_status(self, text: str, latency: str = "") -> None:
        """Show the state of the graph, and below the controls its latency, as HTML."""
        self._status.content = text
        self._latency_folder.visible = bool(latency)
        self._latency.content = latency

    # --- the scene ------------------------------------------------------------------------------

    def _furnish(self) -> None:
        world = self._server.scene
        world.set_up_direction("+z")
        world.configure_default_lights(cast_shadow=False)
        self._grid = world.add_grid(
            "/floor", infinite_grid=True, cell_size=0.5, section_size=1.0, cell_thickness=0.6,
            cell_color=_CELLS, section_color=_SECTIONS, fade_distance=28.0, shadow_opacity=0.3,
        )  # fmt: skip
        self._stand_node = world.add_frame("/camera", show_axes=False)
        nothing = np.zeros((1, 2, 3), np.float32)
        self._frustum = world.add_line_segments(
            "/camera/frustum", nothing, MUTED, thickness=0.012, visible=False
        )
        self._trails = world.add_line_segments(
            "/trails", nothing, nothing.astype(np.uint8), thickness=0.02, visible=False
        )
        self._balls = _Batch(world, "/camera/joints", creation.icosphere(2, radius=1.0))
        self._rods = _Batch(world, "/camera/limbs", creation.cylinder(1.0, 1.0, sections=16))
        self._server.initial_camera.fov = FIELD_OF_VIEW

    def _stand(self, view: View) -> None:
        """Put the camera where it stands, with its frustum."""
        rotation, position = scene.camera_pose(view.floor.mounting)
        self._stand_node.wxyz, self._stand_node.position = scene.wxyz(rotation), position
        self._grid.visible = self.wants("floor")
        if view.camera is not None and view.camera != self._camera:
            self._camera = view.camera
            self._frustum.points = scene.frustum(view.camera).segments
            if self._picture is not None:
                self._picture.remove()
                self._picture = None
        self._frustum.visible = self._camera is not None and self.wants("picture")

    def _put_picture(self) -> None:
        """Put the last picture into the frustum, or hide it where nobody wants it."""
        if self._image is None or self._camera is None or not self.wants("picture"):
            if self._picture is not None:
                self._picture.visible = False
            return
        rgb = _shrunk(self._image)
        if self._picture is None:
            pyramid = scene.frustum(self._camera)
            self._picture = self._server.scene.add_image(
                "/camera/picture", rgb, *pyramid.size,
                position=pyramid.centre, format="jpeg", jpeg_quality=JPEG_QUALITY,
                cast_shadow=False, receive_shadow=False,
            )  # fmt: skip
            return
        self._picture.image = rgb
        self._picture.visible = True

    def _put_surfaces(self) -> None:
        """Show the last surfaces, or none where nobody wants them."""
        wanted = self._meshes if self.wants("surfaces") else {}
        for identity in set(self._surfaces) - set(wanted):
            self._surfaces.pop(identity).remove()
        for identity, mesh in wanted.items():
            there = self._surfaces.get(identity)
            if there is not None and np.array_equal(there.faces, mesh.faces):
                there.vertices = mesh.vertices
            else:
                self._surfaces[identity] = self._server.scene.add_mesh_simple(
                    f"/camera/surfaces/{identity}",
                    mesh.vertices, mesh.faces, color=person_color(identity), opacity=0.9,
                )  # fmt: skip

    def _show_people(self, view: View) -> None:
        people = scene.people_of(view.bodies, view.predicted)
        shown = self.wants("people")
        count = len(people.joints) if shown else 0
        self._balls.place(
            people.joints[:count],
            np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
            np.full((count, 3), JOINT_RADIUS, np.float32),
            people.joint_colors[:count],
        )
        count = len(people.limbs) if shown else 0
        self._rods.place(*scene.rods(people.limbs[:count], LIMB_RADIUS), people.limb_colors[:count])
        self._show_labels(people.labels if self.wants("labels") else ())

    def _show_labels(self, labels: Sequence[scene.Label]) -> None:
        while len(self._labels) < len(labels):
            self._labels.append(
                self._server.scene.add_label(
                    f"/camera/label_{len(self._labels)}", "", anchor="bottom-center", visible=False
                )
            )
        for handle, label in zip(self._labels, labels, strict=False):
            handle.text, handle.position, handle.visible = label.text, label.position, True
        for handle in self._labels[len(labels) :]:
            handle.visible = False

    def _show_trails(self, view: View) -> None:
        segments, colors = scene.trail_segments(view.trails, view.floor)
        self._trails.visible = bool(len(segments)) and self.wants("trails")
        if self._trails.visible:
            self._trails.points, self._trails.colors = segments, colors

    # --- controls -------------------------------------------------------------------------------

    def _make_controls(self, changed: Callable[[], None]) -> None:
        gui = self._server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
        gui.set_panel_label("smap_ros")
        self._status = gui.add_html("")
        looks = gui.add_button_group("look", ("over all", "as camera", "from above"))
        with gui.add_folder("show", expand_by_default=False):
            self._boxes = {
                name: gui.add_checkbox(words, initial_value=name not in _OFF)
                for name, words in CHOICES.items()
            }

        self._latency_folder = gui.add_folder("latency", order=math.inf, visible=False)
        with self._latency_folder:
            self._latency = gui.add_html("")

        @looks.on_click
        def _(event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
            if event.client is not None:
                self._look(event.client, looks.value)

        for box in self._boxes.values():

            @box.on_update
            def _(event: viser.GuiEvent[viser.GuiCheckboxHandle]) -> None:
                self._server.scene.configure_default_lights(cast_shadow=self.wants("shadows"))
                if self._view is not None:
                    self.show(self._view)
                with self._lock, self._server.atomic():  # though it is paused
                    self._put_picture()
                    self._put_surfaces()
                changed()

    def _look(self, client: viser.ClientHandle, how: str) -> None:
        view = self._view
        if view is None:
            return
        opening = FIELD_OF_VIEW
        if how == "as camera" and self._camera is not None:
            viewpoint, opening = scene.through_camera(self._camera, view.floor)
        elif how == "from above":
            viewpoint = scene.from_above(view.bodies, view.floor)
        else:
            viewpoint = scene.overview(view.bodies, view.floor)
        with client.atomic():
            client.camera.fov = opening
            _move(client, viewpoint)

    def _aim(self, view: View) -> None:
        """Let who is there, and who comes, look at the first people; before, at where they may be.

        Only then: who looks has the camera in his own hands.
        """
        people = len(view.bodies)
        if self._aimed_at is not None and (self._aimed_at or not people):
            return
        self._aimed_at = people
        viewpoint = scene.overview(view.bodies, view.floor)
        start = self._server.initial_camera
        start.position, start.look_at = viewpoint.position, viewpoint.target
        for client in self._server.get_clients().values():
            _move(client, viewpoint)


def _move(client: viser.ClientHandle, viewpoint: scene.Viewpoint) -> None:
    """Let a browser look from somewhere else, unless what it tells of its camera is none."""
    with contextlib.suppress(ValueError, TypeError):
        client.camera.position, client.camera.look_at = viewpoint.position, viewpoint.target


class _Batch:
    """Many copies of one shape, moved together in few messages."""

    def __init__(self, world: viser.SceneApi, name: str, shape: Trimesh) -> None:
        self._world, self._name, self._shape = world, name, shape
        self._capacity = 0
        self._handle: viser.BatchedMeshHandle | None = None

    def place(
        self,
        positions: scene.Float32,
        turns: scene.Float32,
        scales: scene.Float32,
        colors: scene.UInt8,
    ) -> None:
        """Show so many copies.

        Args:
            positions: float32 [N, 3]; turns: float32 [N, 4], quaternions w, x, y, z; scales:
                float32 [N, 3]; colors: uint8 [N, 3].
        """
        capacity = max(self._capacity, -(-len(positions) // _LOT) * _LOT)
        positions, scales = _padded(positions, capacity), _padded(scales, capacity)
        turns, colors = _padded(turns, capacity), _padded(colors, capacity)
        turns[~turns.any(axis=1), 0] = 1.0
        if self._handle is not None and capacity == self._capacity:
            self._handle.batched_positions, self._handle.batched_wxyzs = positions, turns
            self._handle.batched_scales, self._handle.batched_colors = scales, colors
        elif capacity:
            self._capacity = capacity
            self._handle = self._world.add_batched_meshes_simple(
                self._name, self._shape.vertices, self._shape.faces, turns, positions,
                batched_scales=scales, batched_colors=colors, lod="off",
            )  # fmt: skip


def _padded(values: NDArray[Number], count: int) -> NDArray[Number]:
    """With rows of zeros at the end."""
    out = np.zeros((count, *values.shape[1:]), values.dtype)
    out[: len(values)] = values
    return out


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As rgb, no wider than is sent."""
    height, width = image.shape[:2]
    if width > PICTURE_WIDTH:
        size = (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return np.ascontiguousarray(image[:, :, ::-1])
