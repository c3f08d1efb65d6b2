"""Materials. Each that is not glass or smoke has a node "surface", whose shader becomes white light for coverage."""

from __future__ import annotations

import colorsys
import math
from typing import Any, TypeAlias

import bpy
import numpy as np

from .strands import Rng

Nodes: TypeAlias = Any
Material: TypeAlias = Any
Colour: TypeAlias = "tuple[float, float, float]"


def _material(name: str) -> tuple[Material, Nodes]:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    material.node_tree.nodes.clear()
    return material, material.node_tree


def _finished(material: Material, tree: Nodes, shader: Any, opacity: Any = None) -> Material:
    surface = tree.nodes.new("ShaderNodeMixShader")
    surface.name = "surface"
    through = tree.nodes.new("ShaderNodeBsdfTransparent")
    tree.links.new(through.outputs[0], surface.inputs[1])
    tree.links.new(shader, surface.inputs[2])
    surface.inputs[0].default_value = 1.0
    if opacity is not None:
        tree.links.new(opacity, surface.inputs[0])
    out = tree.nodes.new("ShaderNodeOutputMaterial")
    # A mixture with an opacity of 1 would still make every shadow ask for it.
    tree.links.new(surface.outputs[0] if opacity is not None else shader, out.inputs[0])
    return material


def glowing(material: Material) -> None:
    """Make the material white light, as opaque as before."""
    tree = material.node_tree
    if "surface" not in tree.nodes:
        return
    light = tree.nodes.new("ShaderNodeEmission")
    surface = tree.nodes["surface"]
    tree.links.new(light.outputs[0], surface.inputs[2])
    if not surface.outputs[0].is_linked:
        out = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
        tree.links.new(light.outputs[0], out.inputs[0])


def ramp(tree: Nodes, value: Any, stops: list[tuple[float, Colour]], hard: bool = False) -> Any:
    node = tree.nodes.new("ShaderNodeValToRGB")
    band = node.color_ramp
    band.interpolation = "CONSTANT" if hard else "LINEAR"
    while len(band.elements) < len(stops):
        band.elements.new(0.5)
    for element, (at, colour) in zip(band.elements, stops, strict=True):
        element.position, element.color = at, (*colour, 1)
    tree.links.new(value, node.inputs[0])
    return node.outputs[0]


def _pattern(rng: Rng, tree: Nodes, kind: str) -> Any:
    """A procedural pattern's value, in object coordinates."""
    where = tree.nodes.new("ShaderNodeTexCoord").outputs["Object"]
    mapping = tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value = rng.uniform(0, 6.3, 3)
    mapping.inputs["Location"].default_value = rng.uniform(-5, 5, 3)
    tree.links.new(where, mapping.inputs[0])
    node = tree.nodes.new({"noise": "ShaderNodeTexNoise", "stripes": "ShaderNodeTexWave", "cells":
                           "ShaderNodeTexVoronoi", "checker": "ShaderNodeTexChecker"}[kind])
    tree.links.new(mapping.outputs[0], node.inputs["Vector"])
    node.inputs["Scale"].default_value = float(np.exp(rng.uniform(np.log(1.0), np.log(9.0))))
    if kind == "stripes":
        node.inputs["Distortion"].default_value = float(rng.choice([0, 0, 1.5, 6]))
        node.inputs["Scale"].default_value *= 0.6
    if kind == "noise":
        node.inputs["Detail"].default_value = 5
        node.inputs["Distortion"].default_value = float(rng.choice([0, 0, 1.5]))
    return node.outputs["Fac" if kind in ("noise", "stripes", "checker") else "Distance"]


def paint(rng: Rng, colours: list[Colour] | None = None, *, tinted: bool = False, sheer: str = "",
          metal: bool | None = None, plain: bool = False) -> Material:
    """A surface: plain, or with a random pattern. tinted: with the colours of its vertices. sheer: "" or what a cloth
    lets through: "even", "lace" (holes), "weave", "worn"."""
    material, tree = _material("paint")
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    colours = colours or [colour(rng) for _ in range(3)]
    base = shader.inputs["Base Color"]
    kind = "plain" if plain else str(rng.choice(["plain", "noise", "stripes", "cells", "checker"],
                                                p=[0.4, 0.25, 0.13, 0.12, 0.1]))
    if tinted:
        node = tree.nodes.new("ShaderNodeAttribute")
        node.attribute_name = "tint"
        tree.links.new(node.outputs["Color"], base)
    elif kind == "plain":
        base.default_value = (*colours[0], 1)
    else:
        value = _pattern(rng, tree, kind)
        stops = [(0.0, colours[0]), (rng.uniform(0.35, 0.65), colours[1])]
        if rng.random() < 0.5:
            stops.append((0.75, colours[2]))
        tree.links.new(ramp(tree, value, stops, bool(rng.random() < 0.4)), base)
    shader.inputs["Roughness"].default_value = rng.uniform(0.15, 0.9)
    shader.inputs["Metallic"].default_value = float(rng.random() < 0.15 if metal is None else metal)
    shader.inputs["Coat Weight"].default_value = float(rng.choice([0, 0, 0, 0.8]))
    shader.inputs["Sheen Weight"].default_value = float(rng.choice([0, 0, 0.4])) if not metal else 0.0
    if rng.random() < 0.4:
        bump = tree.nodes.new("ShaderNodeBump")
        bump.inputs["Strength"].default_value = rng.uniform(0.1, 0.6)
        bump.inputs["Distance"].default_value = 0.05
        tree.links.new(_pattern(rng, tree, "noise"), bump.inputs["Height"])
        tree.links.new(bump.outputs[0], shader.inputs["Normal"])
    return _finished(material, tree, shader.outputs[0], _openness(rng, tree, sheer))


def _openness(rng: Rng, tree: Nodes, sheer: str) -> Any:
    if not sheer:
        return None
    low, high = sorted(rng.uniform(0.15, 0.85, 2))
    dark, bright = (low,) * 3, (high,) * 3
    if sheer == "even":
        # Seen along its surface cloth covers more.
        facing_it = tree.nodes.new("ShaderNodeLayerWeight")
        facing_it.inputs["Blend"].default_value = 0.5
        return ramp(tree, facing_it.outputs["Facing"], [(0, dark), (1, (min(1, high + 0.15),) * 3)])
    if sheer == "worn":
        return ramp(tree, _pattern(rng, tree, "noise"), [(0.3, dark), (0.65, (1, 1, 1))])
    kind = "cells" if sheer == "lace" else "checker"
    value = _pattern(rng, tree, kind)
    for node in tree.nodes:
        if node.bl_idname in ("ShaderNodeTexVoronoi", "ShaderNodeTexChecker"):
            node.inputs["Scale"].default_value = rng.uniform(10, 35)
    return ramp(tree, value, [(0.0, (low * 0.3,) * 3), (rng.uniform(0.3, 0.5), (1, 1, 1) if sheer == "lace"
                                                         else bright)], hard=bool(sheer == "weave"))


def hair(rng: Rng, *, soft: bool = False) -> Material:
    """Strands with their own tint. soft: wool, grass or barbs, without a hair's two highlights."""
    material, tree = _material("hair")
    node = tree.nodes.new("ShaderNodeAttribute")
    node.attribute_name = "tint"
    if soft:
        shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
        shader.inputs["Roughness"].default_value = rng.uniform(0.4, 0.9)
        shader.inputs["Specular IOR Level"].default_value = rng.uniform(0, 0.5)
        tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    else:
        shader = tree.nodes.new("ShaderNodeBsdfHairPrincipled")
        shader.parametrization = "COLOR"
        shader.inputs["Roughness"].default_value = rng.uniform(0.15, 0.5)
        shader.inputs["Radial Roughness"].default_value = rng.uniform(0.3, 0.8)
        tree.links.new(node.outputs["Color"], shader.inputs["Color"])
    return _finished(material, tree, shader.outputs[0])


def glass(rng: Rng, tint: Colour, rough: float = 0.0) -> Material:
    """Glass, or a liquid. It has no "surface": how much light goes through it only rays can tell."""
    material, tree = _material("glass")
    shader = tree.nodes.new("ShaderNodeBsdfGlass")
    shader.inputs["Color"].default_value = (*tint, 1)
    shader.inputs["Roughness"].default_value = rough
    shader.inputs["IOR"].default_value = rng.uniform(1.3, 1.6)
    out = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(shader.outputs[0], out.inputs[0])
    return material


def thin_glass(rng: Rng, tint: Colour) -> Material:
    """Walls so thin that they do not bend light, as of a bubble: clear in front, a mirror at its edges."""
    material, tree = _material("thin glass")
    through = tree.nodes.new("ShaderNodeBsdfTransparent")
    through.inputs["Color"].default_value = (*(1 - (1 - np.array(tint)) * 0.5), 1)
    mirror = tree.nodes.new("ShaderNodeBsdfGlossy")
    mirror.inputs["Roughness"].default_value = rng.uniform(0, 0.1)
    mixed = tree.nodes.new("ShaderNodeMixShader")
    edge = tree.nodes.new("ShaderNodeFresnel")
    edge.inputs["IOR"].default_value = rng.uniform(1.2, 1.6)
    tree.links.new(edge.outputs[0], mixed.inputs[0])
    tree.links.new(through.outputs[0], mixed.inputs[1])
    tree.links.new(mirror.outputs[0], mixed.inputs[2])
    out = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(mixed.outputs[0], out.inputs[0])
    return material


def smoke(rng: Rng, tint: Colour, density: float) -> Material:
    """A cloud in a box of half-size 1: dense in the middle, torn by noise."""
    material, tree = _material("smoke")
    link, new = tree.links.new, tree.nodes.new
    where = new("ShaderNodeTexCoord").outputs["Object"]
    noise = new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = rng.uniform(0.9, 2.5)
    noise.inputs["Detail"].default_value = rng.uniform(3, 7)
    noise.inputs["Roughness"].default_value = rng.uniform(0.5, 0.7)
    noise.inputs["Distortion"].default_value = float(rng.choice([0, 0.3, 1.0]))
    shift = new("ShaderNodeVectorMath")
    shift.inputs[1].default_value = rng.uniform(-9, 9, 3)
    link(where, shift.inputs[0])
    link(shift.outputs[0], noise.inputs["Vector"])
    far = new("ShaderNodeVectorMath")
    far.operation = "LENGTH"
    link(where, far.inputs[0])

    def maths(operation: str, *inputs: Any) -> Any:
        node = new("ShaderNodeMath")
        node.operation = operation
        for socket, value in zip(node.inputs, inputs, strict=False):
            if isinstance(value, float):
                socket.default_value = value
            else:
                link(value, socket)
        return node.outputs[0]

    inside = maths("SUBTRACT", 1.0, far.outputs["Value"])  # 1 in the middle, 0 at radius 1
    torn = maths("SUBTRACT", noise.outputs["Fac"], float(rng.uniform(0.46, 0.54)))
    shape = maths("ADD", torn, maths("MULTIPLY", maths("SUBTRACT", inside, 0.45), float(rng.uniform(0.15, 0.5))))
    edge = maths("MINIMUM", maths("MULTIPLY", inside, 5.0), 1.0)
    thick = maths("MULTIPLY", maths("MAXIMUM", shape, 0.0), maths("MAXIMUM", edge, 0.0))
    shader = new("ShaderNodeVolumePrincipled")
    shader.inputs["Color"].default_value = (*tint, 1)
    shader.inputs["Anisotropy"].default_value = rng.uniform(0, 0.4)
    link(maths("MULTIPLY", thick, density), shader.inputs["Density"])
    out = new("ShaderNodeOutputMaterial")
    link(shader.outputs[0], out.inputs["Volume"])
    return material


def colour(rng: Rng, saturation: tuple[float, float] = (0.1, 0.9), value: tuple[float, float] = (0.03, 0.9)) -> Colour:
    """A random colour in linear light."""
    bright = math.exp(rng.uniform(math.log(value[0]), math.log(value[1])))
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), bright)
