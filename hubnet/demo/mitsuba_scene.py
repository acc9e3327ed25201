"""The picture of the demo: a hub of glass in a turning golden ring, and eight peers in a wave around it.

Everything is made here, from numbers: no file is read. All motion is a whole number of turns over the
animation, so the frame after the last is the first. Easy light is why few samples do: a soft lamp, a bright
sky, and no dark corner that only a long path reaches.
"""

from __future__ import annotations

from math import cos, pi, radians, sin
from typing import TYPE_CHECKING, Any, TypeAlias

from hubnet.demo.renderer import FrameJob

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Colour: TypeAlias = tuple[float, float, float]  # linear, not sRGB

BOUNCES = 6  # in and out of the glass, to a peer and to the lamp; with 5 the picture begins to darken
HUB_RADIUS = 1.0
RING_RADIUS, RING_WIDTH = 1.38, 0.11
RING_TILT = radians(62)
PEER_RADIUS, PEER_DISTANCE, PEER_LIFT = 0.45, 2.6, 0.95
CAMERA_DISTANCE, CAMERA_HEIGHT = 10.2, 4.9

TILE_COLOURS: tuple[Colour, Colour] = ((0.045, 0.100, 0.170), (0.085, 0.170, 0.260))
GOLD: Colour = (1.00, 0.70, 0.27)
PEER_COLOURS: tuple[Colour, ...] = (
    (0.80, 0.07, 0.06),
    (0.90, 0.30, 0.03),
    (0.88, 0.66, 0.05),
    (0.22, 0.58, 0.10),
    (0.03, 0.50, 0.46),
    (0.05, 0.24, 0.75),
    (0.33, 0.10, 0.65),
    (0.78, 0.09, 0.40),
)


def describe(job: FrameJob) -> dict[str, Any]:
    """The scene of one frame, as `mitsuba.load_dict` takes it. A variant must have been set."""
    angle = 2 * pi * (job.number - 1) / job.total
    return {
        "type": "scene",
        # Russian roulette (rr_depth) stays off: on paths this short it adds more noise than it saves time.
        "integrator": {"type": "path", "max_depth": BOUNCES, "rr_depth": BOUNCES + 1},
        "camera": _camera(angle, job),
        **_light(),
        "floor": _floor(),
        "hub": _hub(),
        "ring": _ring(angle),
        **{f"peer-{index}": _peer(index, angle) for index in range(len(PEER_COLOURS))},
    }


def _camera(angle: float, job: FrameJob) -> dict[str, Any]:
    eye = [CAMERA_DISTANCE * cos(angle), CAMERA_DISTANCE * sin(angle), CAMERA_HEIGHT]
    return {
        "type": "perspective",
        "fov": 34,
        "fov_axis": "x",
        "to_world": _transform().look_at(origin=eye, target=[0, 0, 0.95], up=[0, 0, 1]),
        "film": {"type": "hdrfilm", "width": job.width, "height": job.height, "pixel_format": "rgb"},
        "sampler": {"type": "multijitter"},  # a fifth less noise than independent samples, a seventh more time
    }


def _light() -> dict[str, Any]:
    above = _transform().look_at(origin=[3, -3, 9], target=[0, 0, 0], up=[0, 1, 0])
    return {
        "sky": {"type": "constant", "radiance": _rgb((0.38, 0.41, 0.47))},
        "lamp": {
            "type": "rectangle",
            "to_world": above.scale([3.5, 3.5, 1]),
            "emitter": {"type": "area", "radiance": _rgb((5.6, 5.1, 4.3))},
        },
    }


def _floor() -> dict[str, Any]:
    """Tiles two units wide, so far that the edge is out of the picture."""
    tiles = {
        "type": "checkerboard",
        "color0": _rgb(TILE_COLOURS[0]),
        "color1": _rgb(TILE_COLOURS[1]),
        "to_uv": _transform().scale([40, 40, 1]),
    }
    return {
        "type": "rectangle",
        "to_world": _transform().scale(40),
        "bsdf": {"type": "diffuse", "reflectance": tiles},
    }


def _hub() -> dict[str, Any]:
    return {
        "type": "sphere",
        "center": [0, 0, HUB_RADIUS + 0.3],
        "radius": HUB_RADIUS,
        "bsdf": {"type": "dielectric", "int_ior": 1.5},
    }


def _peer(index: int, angle: float) -> dict[str, Any]:
    """A ball that keeps its place and rides the wave: two crests around the circle, two a loop."""
    place = 2 * pi * index / len(PEER_COLOURS)
    lift = PEER_LIFT * (1 + sin(2 * place + 2 * angle)) / 2
    return {
        "type": "sphere",
        "center": [PEER_DISTANCE * cos(place), PEER_DISTANCE * sin(place), PEER_RADIUS + lift],
        "radius": PEER_RADIUS,
        # roughplastic would be as pretty, and takes 0.1 s for each ball to prepare.
        "bsdf": {"type": "plastic", "diffuse_reflectance": _rgb(PEER_COLOURS[index])},
    }


def _ring(angle: float) -> Any:
    """The golden ring around the hub; it turns twice a loop."""
    points, normals, triangles = _torus(RING_RADIUS, RING_WIDTH)
    turn = _turned(RING_TILT, 2 * angle + 0.6)
    centre = [0, 0, HUB_RADIUS + 0.45]
    gold = {"type": "roughconductor", "material": "none", "alpha": 0.12, "specular_reflectance": _rgb(GOLD)}
    return _mesh(points @ turn + centre, normals @ turn, triangles, gold)


def _torus(radius: float, width: float, around: int = 96, across: int = 20) -> tuple[Array, Array, Array]:
    """Points, normals and triangles of a ring that lies flat, made of `around` times `across` quads."""
    import numpy as np

    grid: Any = np.indices((around, across))
    u, v = grid
    long, short = 2 * pi * u / around, 2 * pi * v / across
    circle = np.stack([np.cos(long), np.sin(long), np.zeros(u.shape)], axis=-1)
    normals = circle * np.cos(short)[..., None] + np.stack([0 * short, 0 * short, np.sin(short)], axis=-1)
    points = radius * circle + width * normals
    here, ahead = across * u, across * ((u + 1) % around)
    beside = (v + 1) % across
    a, b, c, d = here + v, ahead + v, ahead + beside, here + beside
    triangles = np.stack([a, b, c, a, c, d], axis=-1)
    return points.reshape(-1, 3), normals.reshape(-1, 3), triangles.reshape(-1, 3)


def _turned(tilt: float, turn: float) -> Array:
    """The rotation that tilts about x, then turns about z; rows of points are multiplied with it."""
    import numpy as np

    about_x = np.array([[1, 0, 0], [0, cos(tilt), sin(tilt)], [0, -sin(tilt), cos(tilt)]])
    about_z = np.array([[cos(turn), sin(turn), 0], [-sin(turn), cos(turn), 0], [0, 0, 1]])
    rotation: Array = about_x @ about_z
    return rotation


def _mesh(points: Array, normals: Array, triangles: Array, material: dict[str, Any]) -> Any:
    """A mesh from arrays; Mitsuba offers no dict for that."""
    import mitsuba

    properties = mitsuba.Properties()
    properties["bsdf"] = mitsuba.load_dict(material)
    mesh = mitsuba.Mesh("mesh", len(points), len(triangles), has_vertex_normals=True, props=properties)
    buffers = mitsuba.traverse(mesh)
    buffers["vertex_positions"] = points.ravel().astype("float32")
    buffers["vertex_normals"] = normals.ravel().astype("float32")
    buffers["faces"] = triangles.ravel().astype("uint32")
    buffers.update()
    return mesh


def _rgb(colour: Colour) -> dict[str, Any]:
    return {"type": "rgb", "value": list(colour)}


def _transform() -> Any:
    import mitsuba

    return mitsuba.ScalarTransform4f()
