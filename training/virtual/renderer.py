"""Rendering: OpenGL 3.3 without a window (EGL), shadow map, ambient light per vertex.

The same code runs on a CPU (Mesa's llvmpipe: Debian ``libegl1 libgl1-mesa-dri``) and on a GPU.
One pass gives colour, the label of each pixel (in the alpha channel) and depth.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import EngineError
from smap_train.virtual.parts import Part
from smap_train.virtual.shaders import BACKDROP_FS, BACKDROP_VS, DEPTH_FS, DEPTH_VS, FS, VS
from smap_train.virtual.textures import TextureBank

NEAR, FAR = 0.05, 80.0
_VERTEX = "3f 3f 2f"


@dataclass(frozen=True)
class View:
    """A camera in the world.

    Attributes:
        camera: intrinsics.
        rotation: world to optical frame, [3, 3].
        eye: its position, [3].
    """

    camera: Camera
    rotation: NDArray[np.float64]
    eye: NDArray[np.float64]

    def to_camera(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """World points [..., 3] in the optical frame."""
        return (points - self.eye) @ self.rotation.T

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels [..., 2] of points in the optical frame."""
        c = self.camera
        z = np.maximum(points[..., 2:], 1e-6)
        return points[..., :2] / z * (c.fx, c.fy) + (c.cx, c.cy)


@dataclass(frozen=True)
class Light:
    """One directional light with shadows and ambient light.

    Attributes:
        direction: towards the light, [3].
        colour: linear RGB of the directional light.
        sky, ground: ambient light from above and below; side: what the direction
            ``side_direction`` adds to it (a window, a bright wall).
        softness: width of shadow edges in texels of the shadow map.
        exposure: factor before the tone curve.
        centre, radius: the ball that shadows cover.
    """

    direction: NDArray[np.float64]
    colour: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    side: tuple[float, float, float]
    side_direction: NDArray[np.float64]
    softness: float
    exposure: float
    centre: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    radius: float = 5.0


@dataclass(frozen=True)
class Frame:
    """A rendered picture.

    Attributes:
        rgb: uint8 [h, w, 3]; labels: uint8 [h, w], see :class:`Part`.
        depth: z in the optical frame in metres, float32 [h, w]; infinite where nothing is.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]


class Renderer:
    """An OpenGL context with the programs, textures and buffers of one process."""

    def __init__(
        self,
        width: int,
        height: int,
        textures: TextureBank,
        shadow_size: int = 640,
        backend: str = "egl",
    ) -> None:
        """Create the context.

        Raises:
            EngineError: if no EGL context can be made, saying what to install.
        """
        # One thread a process: llvmpipe's own threads slow parallel processes down.
        os.environ.setdefault("LP_NUM_THREADS", "1")
        import moderngl

        try:
            self._gl = moderngl.create_context(standalone=True, backend=backend, require=330)
        except Exception as error:  # moderngl raises bare Exception
            raise EngineError(
                f"can't create an OpenGL 3.3 context with backend {backend!r}: {error}; on "
                "Debian or Ubuntu install libegl1 and libgl1-mesa-dri"
            ) from error
        self.device = str(self._gl.info["GL_RENDERER"])
        self.size = (width, height)
        self._textures = textures
        gl = self._gl
        self._colour = gl.renderbuffer((width, height), 4)
        self._depth = gl.depth_texture((width, height))
        self._target = gl.framebuffer([self._colour], self._depth)
        self._shadow = gl.depth_texture((shadow_size, shadow_size))
        self._shadow.compare_func = "<="  # hardware comparison with bilinear filtering
        self._shadow.repeat_x = self._shadow.repeat_y = False
        self._shadow_target = gl.framebuffer(depth_attachment=self._shadow)
        self._shadow_size = shadow_size
        self._main = gl.program(VS, FS)
        self._depth_only = gl.program(DEPTH_VS, DEPTH_FS)
        self._flat = gl.program(BACKDROP_VS, BACKDROP_FS)
        corners = gl.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], "f4").tobytes())
        self._quad = gl.vertex_array(self._flat, [(corners, "2f", "corner")])
        self._strip = moderngl.TRIANGLE_STRIP
        self._uploaded: dict[str, object] = {}
        self._indices: dict[str, object] = {}

    def render(self, parts: list[Part], view: View, light: Light, backdrop: str) -> Frame:
        """Draw.

        Args:
            backdrop: name of the texture behind everything, stretched over the picture.
        """
        with self._gl:  # several renderers may live in one process
            drawables = [self._upload(part) for part in parts]
            try:
                return self._draw_all(parts, drawables, view, light, backdrop)
            finally:
                for vertices, scene, caster, indices, own_indices in drawables:
                    for item in (scene, caster, vertices) + ((indices,) if own_indices else ()):
                        item.release()

    def _draw_all(
        self, parts: list[Part], drawables: list, view: View, light: Light, backdrop: str
    ) -> Frame:
        gl = self._gl
        gl.enable(gl.DEPTH_TEST)
        self._draw_shadows(parts, drawables, light)
        self._target.use()
        self._target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        gl.disable(gl.DEPTH_TEST)
        self._texture(backdrop).use(0)
        self._quad.render(self._strip)
        gl.enable(gl.DEPTH_TEST)
        self._draw(parts, drawables, view, light)
        return self._read()

    def _upload(self, part: Part):  # OpenGL objects
        gl = self._gl
        packed = np.concatenate([part.positions, part.normals, part.uv], axis=1)
        vertices = gl.buffer(np.ascontiguousarray(packed, dtype="f4").tobytes())
        own = not part.faces_key
        indices = self._indices.get(part.faces_key)
        if indices is None:
            indices = gl.buffer(np.ascontiguousarray(part.faces, dtype="i4").tobytes())
            if not own:
                self._indices[part.faces_key] = indices
        scene = gl.vertex_array(
            self._main, [(vertices, _VERTEX, "position", "normal", "uv")], indices
        )
        caster = gl.vertex_array(self._depth_only, [(vertices, "3f 20x", "position")], indices)
        return vertices, scene, caster, indices, own

    def _texture(self, name: str):  # an OpenGL texture
        if name not in self._uploaded:
            import moderngl

            image = self._textures[name]
            texture = self._gl.texture(
                image.shape[1::-1], 4, np.ascontiguousarray(image[::-1]).tobytes()
            )
            texture.build_mipmaps()
            texture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
            self._uploaded[name] = texture
        return self._uploaded[name]

    def _draw_shadows(self, parts: list[Part], drawables: list, light: Light) -> None:
        self._shadow_target.use()
        self._shadow_target.clear(depth=1.0)
        _write(self._depth_only, "view_projection", _shadow_matrix(light))
        for part, drawable in zip(parts, drawables, strict=True):
            if part.shadow:
                drawable[2].render()

    def _draw(self, parts: list[Part], drawables: list, view: View, light: Light) -> None:
        program = self._main
        _write(program, "view_projection", _projection(view))
        _write(program, "shadow_matrix", _shadow_matrix(light))
        for name in ("colour", "sky", "ground", "side", "direction", "side_direction"):
            program[f"light_{name}"].value = tuple(float(v) for v in getattr(light, name))
        program["eye"].value = tuple(view.eye)
        program["exposure"].value = light.exposure
        program["blur"].value = light.softness / self._shadow_size
        program["albedo"].value, program["pattern"].value, program["shadow_map"].value = 0, 1, 2
        self._shadow.use(2)
        for part, drawable in zip(parts, drawables, strict=True):
            material = part.material
            self._texture(material.texture).use(0)
            self._texture(material.pattern or "plain").use(1)
            program["tint"].value = material.tint
            program["tint2"].value = material.tint2 if material.pattern else material.tint
            program["pattern_scale"].value = material.pattern_scale
            program["grey"].value = material.grey
            program["gloss"].value = material.gloss
            program["alpha_cut"].value = material.alpha_cut
            program["two_sided"].value = material.two_sided
            program["label"].value = part.label / 255.0
            drawable[1].render()

    def _read(self) -> Frame:
        width, height = self.size
        rgba = np.frombuffer(self._target.read(components=4, alignment=1), np.uint8)
        rgba = rgba.reshape(height, width, 4)[::-1]
        raw = np.frombuffer(self._depth.read(alignment=4), np.float32)
        raw = raw.reshape(height, width)[::-1]
        depth = 2 * NEAR * FAR / (FAR + NEAR - (2 * raw - 1) * (FAR - NEAR))
        depth = np.where(raw >= 1.0, np.float32(np.inf), depth).astype(np.float32)
        return Frame(np.ascontiguousarray(rgba[..., :3]), rgba[..., 3].copy(), depth)

    def close(self) -> None:
        """Free the context."""
        self._gl.release()


def _write(program, name: str, matrix: NDArray[np.floating]) -> None:  # moderngl program
    program[name].write(np.ascontiguousarray(matrix.T, dtype="f4").tobytes())


def _projection(view: View) -> NDArray[np.float64]:
    """World to clip space; pixel centres are at integers, as in ``Camera``."""
    c = view.camera
    p = np.zeros((4, 4))
    p[0, 0], p[0, 2] = 2 * c.fx / c.width, 2 * (c.cx + 0.5) / c.width - 1
    p[1, 1], p[1, 2] = -2 * c.fy / c.height, 1 - 2 * (c.cy + 0.5) / c.height
    p[2, 2], p[2, 3] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    p[3, 2] = 1
    return p @ _rigid(view.rotation, view.eye)


def _rigid(rotation: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = -rotation @ origin
    return out


def _shadow_matrix(light: Light) -> NDArray[np.float64]:
    """World to the clip space of the light's orthographic view."""
    forward = -np.asarray(light.direction, dtype=np.float64)
    forward = forward / np.linalg.norm(forward)
    helper = np.array([0.0, 1.0, 0.0]) if abs(forward[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(forward, helper)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    reach = 4 * light.radius
    scale = np.diag([1 / light.radius, 1 / light.radius, 1 / reach, 1.0])
    return scale @ _rigid(rotation, np.asarray(light.centre, dtype=np.float64))
