"""Shapes: what Blender can make as triangles, and sheets and turned things as points v×3 with their faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .strands import Array, Surface

FONTS = Path(bpy.utils.system_resource("DATAFILES")) / "fonts"


def surface_of(mesh: Any) -> Surface:
    """A mesh of Blender's as triangles."""
    mesh.calc_loop_triangles()
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    normals = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertex_normals.foreach_get("vector", normals)
    triangles = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    return Surface(points.reshape(-1, 3).astype(float), normals.reshape(-1, 3).astype(float),
                   triangles.reshape(-1, 3).astype(np.int64))


def evaluated(thing: Any) -> Surface:
    """An object with its modifiers, as triangles; the object is taken away."""
    if thing.name not in bpy.context.scene.collection.objects:
        bpy.context.scene.collection.objects.link(thing)
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = bpy.data.meshes.new_from_object(thing.evaluated_get(graph))
    surface = surface_of(mesh)
    bpy.data.objects.remove(thing)
    bpy.data.meshes.remove(mesh)
    return surface


def blended(chains: list[tuple[Array, Array]], detail: float = 0.06) -> Surface:
    """One smooth body from chains of balls: centres k×3 and radii k of each."""
    balls = bpy.data.metaballs.new("body")
    balls.resolution = balls.render_resolution = detail
    for centres, radii in chains:
        for centre, radius in zip(centres, radii, strict=True):
            ball = balls.elements.new(type="BALL")
            ball.co, ball.radius, ball.stiffness = centre, radius / 0.78, 10  # 0.78: its surface at that stiffness
    surface = evaluated(bpy.data.objects.new("body", balls))
    bpy.data.metaballs.remove(balls)
    return surface


def primitive(kind: str, **settings: Any) -> Surface:
    """ico, torus, cube, cone, cylinder or Blender's monkey."""
    makers: dict[str, Callable[..., Any]] = {
        "ico": bpy.ops.mesh.primitive_ico_sphere_add, "torus": bpy.ops.mesh.primitive_torus_add,
        "cube": bpy.ops.mesh.primitive_cube_add, "cone": bpy.ops.mesh.primitive_cone_add,
        "cylinder": bpy.ops.mesh.primitive_cylinder_add, "monkey": bpy.ops.mesh.primitive_monkey_add}
    subdivided = settings.pop("subdivided", 0)
    wired = settings.pop("wired", 0.0)
    makers[kind](**settings)
    thing = bpy.context.object
    if subdivided:
        thing.modifiers.new("subdivided", "SUBSURF").levels = subdivided
    if wired:
        thing.modifiers.new("wired", "WIREFRAME").thickness = wired
    return evaluated(thing)


def glyph(character: str, font: str, depth: float, bevel: float) -> Surface:
    """A character as a solid of height about 2, seen from -y, its faces fine enough to be bent or grown on."""
    curve = bpy.data.curves.new("glyph", "FONT")
    curve.body, curve.font = character, bpy.data.fonts.load(str(FONTS / font))
    curve.extrude, curve.bevel_depth, curve.bevel_resolution, curve.resolution_u = depth, bevel, 2, 6
    thing = bpy.data.objects.new("glyph", curve)
    thing.modifiers.new("even", "REMESH").voxel_size = 0.02
    thing.modifiers.new("smooth", "SMOOTH").iterations = 3
    surface = evaluated(thing)
    if len(surface.points) < 50:
        raise ValueError(f"the font has no {character!r}")
    low, high = surface.points.min(0), surface.points.max(0)
    points = (surface.points - (low + high) / 2) * 2 / max(high - low)
    points = points[:, [0, 2, 1]] * (1, -1, 1)  # stand it up, its front towards -y
    normals = surface.normals[:, [0, 2, 1]] * (1, -1, 1)
    return Surface(points, normals, surface.triangles)


def grid(rows: int, columns: int) -> tuple[Array, Array]:
    """A sheet's coordinates in 0..1 (rows·columns × 2) and its faces."""
    v, u = np.mgrid[0:1:rows * 1j, 0:1:columns * 1j]
    index = np.arange(rows * columns).reshape(rows, columns)
    faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    return np.stack([u.ravel(), v.ravel()], 1), faces


def lathed(profile: Array, around: int = 64) -> tuple[Array, Array]:
    """A profile (radius, height) k×2 turned about z: points and faces."""
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    points = np.stack([profile[:, :1] * np.cos(angle), profile[:, :1] * np.sin(angle),
                       np.broadcast_to(profile[:, 1:], (len(profile), around))], -1).reshape(-1, 3)
    index = np.arange(len(profile) * around).reshape(len(profile), around)
    index = np.concatenate([index, index[:, :1]], 1)
    faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    return points, faces
