"""A scene in Blender (its Python module, bpy 4.5): what stands in it, light, camera and two renderings.

Light and coverage are rendered apart. Light needs few rays, since its noise is a camera's; the coverage of hair thinner
than a pixel needs many, but no bounces: everything glows white then, so that Cycles finds out by itself where the edges
are and spends its rays there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from .materials import Material, colour, glowing, ramp
from .strands import Array, Rng, unit

SKIES = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"


@dataclass
class Stage:
    """What stands on it. place, turn, size: where, how turned (3×3) and how large things are set from now on."""

    rng: Rng
    place: Array = field(default_factory=lambda: np.zeros(3))
    turn: Array = field(default_factory=lambda: np.eye(3))
    size: float = 1.0
    clear: bool = False  # something is glass or smoke: coverage comes from the rays of light
    outline: list[Array] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    factor: float = 1.0  # of the number of strands

    def set_up(self, points: Array) -> Array:
        return np.asarray(points @ self.turn.T * self.size + self.place)

    def _link(self, item: Any, points: Array) -> Any:
        thing = bpy.data.objects.new(item.name, item)
        bpy.context.scene.collection.objects.link(thing)
        flat = points.reshape(-1, 3)
        self.outline.append(flat[:: max(1, len(flat) // 20000)])
        self.objects.append(thing)
        return thing

    def strands(self, points: Array, radius: float | Array, tint: Array, material: Material, *, tip: float = 0.2,
                tint_tip: Array | None = None) -> Any:
        """Strands n×k×3; radius: at the root, each strand's or all their's; tip: the tip's share of it; tint: colours
        (n or 1)×3 at the root and, if not the same, at the tip."""
        points = self.set_up(points)
        count, steps = points.shape[:2]
        curves = bpy.data.hair_curves.new("strands")
        curves.add_curves([steps] * count)
        curves.attributes["position"].data.foreach_set("vector", points.astype(np.float32).ravel())
        along = np.linspace(0, 1, steps)
        widths = np.broadcast_to(np.asarray(radius, float).reshape(-1, 1), (count, 1)) * (1 - (1 - tip) * along ** 1.5)
        thickness = curves.attributes.new("radius", "FLOAT", "POINT")
        thickness.data.foreach_set("value", (widths * self.size).astype(np.float32).ravel())
        root = np.broadcast_to(tint, (count, 3))[:, None]
        end = root if tint_tip is None else np.broadcast_to(tint_tip, (count, 3))[:, None]
        colours = root + (end - root) * along[:, None]
        shades = curves.attributes.new("tint", "FLOAT_COLOR", "POINT")
        shades.data.foreach_set("color", np.concatenate(
            [np.clip(colours, 0, 1), np.ones((count, steps, 1))], 2).astype(np.float32).ravel())
        curves.materials.append(material)
        return self._link(curves, points)

    def mesh(self, points: Array, faces: Any, materials: Material | list[Material], *, smooth: bool = True,
             which: Any = None, tint: Array | None = None) -> Any:
        """A mesh; which: the index of each face's material; tint: colours of the vertices, v×3."""
        points = self.set_up(points)
        mesh = bpy.data.meshes.new("mesh")
        mesh.from_pydata(points.tolist(), [], [list(map(int, face)) for face in faces])
        mesh.validate()
        for material in materials if isinstance(materials, list) else [materials]:
            mesh.materials.append(material)
        if which is not None and len(which) == len(mesh.polygons):
            mesh.polygons.foreach_set("material_index", np.asarray(which, np.int32))
        mesh.polygons.foreach_set("use_smooth", np.full(len(mesh.polygons), smooth))
        if tint is not None:
            shades = mesh.attributes.new("tint", "FLOAT_COLOR", "POINT")
            shades.data.foreach_set("color", np.concatenate(
                [np.clip(tint, 0, 1), np.ones((len(points), 1))], 1).astype(np.float32).ravel())
        mesh.update()
        return self._link(mesh, points)


def emptied() -> None:
    """Throw away everything that is there."""
    bpy.ops.wm.read_factory_settings(use_empty=True)


def lit(rng: Rng, camera: Array) -> str:
    """A sky (one of Blender's CC0 panoramas, or one made up) and lamps: front, side, rim, or all from behind.
    `camera` is where it is seen from. Returns what was chosen."""
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    # Where its light comes from; by itself Blender would look at millions of directions, for seconds.
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 256
    tree = world.node_tree
    back = tree.nodes["Background"]
    where = tree.nodes.new("ShaderNodeTexCoord").outputs["Generated"]
    mapping = tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value = (0, 0, rng.uniform(0, 6.3))
    tree.links.new(where, mapping.inputs[0])
    skies = sorted(SKIES.glob("*.exr"))
    sky = "made up"
    if skies and rng.random() < 0.6:
        path = skies[rng.integers(len(skies))]
        sky = path.stem
        picture = tree.nodes.new("ShaderNodeTexEnvironment")
        picture.image = bpy.data.images.load(str(path))
        tree.links.new(mapping.outputs[0], picture.inputs[0])
        tree.links.new(picture.outputs[0], back.inputs[0])
    else:
        noise = tree.nodes.new("ShaderNodeTexNoise")
        noise.inputs["Scale"].default_value = rng.uniform(0.6, 2.5)
        noise.inputs["Detail"].default_value = 2
        tree.links.new(mapping.outputs[0], noise.inputs["Vector"])
        stops = [(0.35, colour(rng, (0, 0.6), (0.03, 0.3))), (0.55, colour(rng, (0, 0.5), (0.2, 0.6))),
                 (0.7, colour(rng, (0, 0.4), (0.8, 1)))]
        tree.links.new(ramp(tree, noise.outputs["Fac"], stops), back.inputs[0])
    back.inputs[1].default_value = math.exp(rng.uniform(math.log(0.15), math.log(1.2)))
    setup = str(rng.choice(["sky", "front", "side", "rim", "behind", "above"], p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.1]))
    toward = unit(camera)
    side = unit(np.cross(toward, (0, 0, 1.0)))
    side = side if rng.random() < 0.5 else -side
    up = np.array([0, 0, 1.0])
    lamps = {"sky": [], "front": [toward + 0.5 * side + 0.6 * up], "side": [side + 0.2 * toward + 0.3 * up],
             "rim": [0.9 * side - 0.8 * toward + 0.4 * up, 0.5 * toward - side + 0.3 * up],
             "behind": [-toward + 0.5 * up + 0.3 * side], "above": [up + 0.2 * toward]}[setup]
    for index, way in enumerate(lamps):
        lamp = bpy.data.lights.new("lamp", "AREA")
        lamp.size = math.exp(rng.uniform(math.log(0.5), math.log(5)))
        lamp.energy = 700 * math.exp(rng.normal(0, 0.5)) * (1 if index == 0 else 0.25)
        lamp.color = colour(rng, (0, 0.35), (0.9, 1))
        thing = bpy.data.objects.new("lamp", lamp)
        place = unit(way + 0.15 * rng.normal(size=3)) * 6
        thing.location = place
        thing.rotation_euler = _looking(-place)
        bpy.context.scene.collection.objects.link(thing)
    return f"{sky}, {setup}"


def _looking(way: Array) -> Any:
    return Vector(way).to_track_quat("-Z", "Y").to_euler()


def framed(stage: Stage, rng: Rng, azimuth: float, elevation: float, longest: int, *, focus: float, margin: float
           ) -> None:
    """A camera that sees all of it, as large as fits into a picture whose longer side is `longest`.

    azimuth 0 looks from -y. focus: the lens's radius for depth of field, 0 for none. margin: as a share of the side.
    """
    scene = bpy.context.scene
    points = np.concatenate(stage.outline)
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    middle = (low + high) / 2
    size = float(np.linalg.norm(high - low)) / 2
    away = np.array([math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation),
                     math.sin(elevation)])
    distance = size * rng.uniform(3.0, 6.5)
    eye = middle + away * distance
    lens = bpy.data.cameras.new("camera")
    camera = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.location = eye
    camera.rotation_euler = _looking(-away)
    axes = np.array(camera.rotation_euler.to_matrix())
    seen = (points - eye) @ axes
    flat = seen[:, :2] / np.maximum(-seen[:, 2:], 0.1 * distance)
    (x0, y0), (x1, y1) = np.percentile(flat, 0.05, axis=0), np.percentile(flat, 99.95, axis=0)
    width, height = (x1 - x0) * (1 + 2 * margin), (y1 - y0) * (1 + 2 * margin)
    width, height = max(width, height / 2.2), max(height, width / 2.2)
    render = scene.render
    largest = max(width, height)
    render.resolution_x = max(16, round(longest * width / largest))
    render.resolution_y = max(16, round(longest * height / largest))
    render.resolution_percentage = 100
    lens.sensor_fit = "HORIZONTAL"
    lens.sensor_width = 36
    lens.lens = 36 / width
    lens.shift_x, lens.shift_y = (x0 + x1) / 2 / width, (y0 + y1) / 2 / width  # in shares of the fitted side
    if focus:
        lens.dof.use_dof = True
        nearest = float(np.percentile(-seen[:, 2], 10))
        lens.dof.focus_distance = nearest if rng.random() < 0.7 else distance
        lens.dof.aperture_fstop = lens.lens / (2000 * focus * size)


def moved(stage: Stage, rng: Rng, amount: float) -> None:
    """Motion blur: all of it goes somewhere and turns a little while the shutter is open."""
    scene = bpy.context.scene
    hand = bpy.data.objects.new("hand", None)
    scene.collection.objects.link(hand)
    for thing in stage.objects:
        thing.parent = hand
    way, axis = unit(rng.normal(size=3)) * amount, rng.normal(size=3) * amount * 0.5
    for frame, sign in ((0, -1), (2, 1)):
        hand.location, hand.rotation_euler = sign * way, sign * axis
        hand.keyframe_insert("location", frame=frame)
        hand.keyframe_insert("rotation_euler", frame=frame)
    scene.frame_set(1)
    scene.render.use_motion_blur = True
    scene.render.motion_blur_shutter = 1.0


def rendered(stage: Stage, number: int, *, samples: int, edges: int, bounces: int, threads: int
             ) -> tuple[Any, Any, Any, int]:
    """Light (premultiplied, linear H×W×3), the coverage of its rays, coverage as exact as can be (H×W, all float32),
    and the number of rays that a pixel of light got."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    render, cycles = scene.render, scene.cycles
    cycles.device, cycles.seed = "CPU", number % (1 << 31)
    cycles.use_denoising, cycles.use_adaptive_sampling = False, True
    cycles.samples = samples * 5 if stage.clear else samples
    cycles.adaptive_min_samples, cycles.adaptive_threshold = min(16, cycles.samples), 0.04
    cycles.max_bounces = 10 if stage.clear else bounces
    cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transmission_bounces = 2, 2, 10 if stage.clear else bounces
    cycles.volume_bounces, cycles.transparent_max_bounces = 1, 24
    cycles.volume_step_rate, cycles.volume_max_steps = 3.0, 64
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_direct, cycles.sample_clamp_indirect = 12.0, 3.0
    cycles.filter_width = 1.3
    cycles.film_transparent_glass, cycles.film_transparent_roughness = True, 0.4
    scene.cycles_curves.shape, scene.cycles_curves.subdivisions = "RIBBONS", 1
    render.film_transparent, render.use_persistent_data = True, True
    render.threads_mode, render.threads = "FIXED", threads
    settings = render.image_settings
    settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", "32", "RGBA"
    scene.view_settings.view_transform = "Raw"
    with TemporaryDirectory() as folder:
        light = _render(Path(folder, "light.exr"))
        coverage = light[..., 3]
        if stage.clear:
            return light[..., :3], coverage, coverage, cycles.samples
        for material in bpy.data.materials:
            glowing(material)
        for lamp in bpy.data.lights:
            lamp.energy = 0
        scene.world.node_tree.nodes["Background"].inputs[1].default_value = 0
        cycles.samples, cycles.adaptive_min_samples, cycles.adaptive_threshold = edges, min(16, edges), 0.01
        cycles.max_bounces = 0
        exact = _render(Path(folder, "coverage.exr"))[..., 3]
    return light[..., :3], coverage, exact, samples


def _render(path: Path) -> Any:
    scene = bpy.context.scene
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    image.alpha_mode = "CHANNEL_PACKED"  # as it is in the file, premultiplied
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    pixels = np.nan_to_num(pixels.reshape(height, width, 4)[::-1], posinf=100.0, neginf=0.0)
    pixels[..., 3] = np.clip(pixels[..., 3], 0, 1)
    return pixels
