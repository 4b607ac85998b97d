"""Cameras as robots have them, drawn at random, and places that they see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_train.virtual.config import CameraSettings
from smap_train.virtual.renderer import View

Generator = np.random.Generator


def view_from(
    camera: Camera, eye: NDArray[np.floating], pitch: float, roll: float = 0.0, yaw: float = 0.0
) -> View:
    """A camera looking along +y, then turned: ``yaw`` to the left, ``pitch`` up (radians)."""
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    right = turn @ np.array([1.0, 0, 0])
    forward = turn @ np.array([0.0, np.cos(pitch), np.sin(pitch)])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.stack([c * right + s * down, c * down - s * right, forward])
    return View(camera, rotation, np.asarray(eye, dtype=np.float64))


def random_view(
    settings: CameraSettings, width: int, height: int, reach: float, rng: Generator
) -> View:
    """A robot's or wall camera that sees people at about ``reach`` metres."""
    fov = np.radians(rng.uniform(*settings.fov_deg))
    camera = Camera.from_fov(width, height, float(fov))
    eye = np.array([0.0, 0.0, rng.uniform(*_height_band(settings, rng))])
    # Aim so that a point of a body appears somewhere in the middle of the picture.
    ray = np.arctan((rng.uniform(0.25, 0.75) - 0.5) * height / camera.fy)
    pitch = np.arctan2(rng.uniform(*settings.aim) - eye[2], reach) + ray
    pitch = np.clip(pitch, *np.radians(settings.pitch_deg))
    roll = np.radians(np.clip(rng.normal(0, settings.roll_deg), -10, 10))
    # Drawn only where asked for: data sets without it stay as they are.
    if settings.turned_share and rng.random() < settings.turned_share:
        roll = rng.uniform(-np.pi, np.pi)
    return view_from(camera, eye, float(pitch), float(roll))


def _height_band(settings: CameraSettings, rng: Generator) -> tuple[float, float]:
    """Where a small robot's, a head's or a wall's camera is, of what the settings allow, metres."""
    low, high = settings.height
    band = rng.choice(3, p=[0.4, 0.4, 0.2])
    edges = [low, *np.clip([1.1, 1.9], low, high), high]
    bottom, top = edges[band], edges[band + 1]
    return (float(bottom), float(top)) if top > bottom else (low, high)


def random_distance(settings: CameraSettings, rng: Generator) -> float:
    """Distance of somebody from the camera, metres; most often where robots meet people."""
    low, high = settings.distance
    if rng.random() < 0.6:
        low, high = max(low, min(1.6, high)), max(low, min(high, 6.5))
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def first_distance(settings: CameraSettings, rng: Generator) -> float:
    """Distance of the person whom the picture is about, metres."""
    if settings.first is None:
        return random_distance(settings, rng)
    return float(np.exp(rng.uniform(*np.log(settings.first))))


def random_place(
    settings: CameraSettings, view: View, rng: Generator, distance: float | None = None
) -> NDArray[np.float64]:
    """A place on the floor [2] about where ``view`` looks, for a camera above the origin."""
    distance = distance or random_distance(settings, rng)
    column = rng.uniform(-0.03, 1.03) * view.camera.width
    bearing = np.arctan((column - view.camera.cx) / view.camera.fx)
    return distance * np.array([np.sin(bearing), np.cos(bearing)])


def in_picture(view: View, place: NDArray) -> bool:
    """Whether a fair part of somebody standing there is between the upper and lower border."""
    ends = np.array([[place[0], place[1], z] for z in (0.1, 1.6)])
    points = view.to_camera(ends)
    if points[:, 2].min() < 0.3:
        return False
    low, high = np.sort(view.project(points)[:, 1])
    shown = min(high, view.camera.height) - max(low, 0)
    return bool(shown > 0.45 * min(high - low, view.camera.height))
