"""Light, colour and the camera's own faults: from what each pixel sees to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from add_model.geometry import boxes as box3d
from training.data.world import mesh
from training.data.world.faces import NEAR, Faces, clip_near
from training.data.world.motion import Pose
from training.data.world.placement import Placement
from training.data.world.raster import FIRST_FACE, GROUND, SKY, Buffers
from training.data.world.road import HALF_WIDTH
from training.data.world.street import Street
from training.data.world.textures import Pool

_SHADOWS_TO = 60.0  # metres: shadows farther away are too thin to see
_GREYS = np.arange(256.0)[:, None]
_TURN = np.arange(10) * np.pi / 5


@dataclass(frozen=True, eq=False)
class Light:
    """Weather and camera settings of one drive.

    sun:      (3,) unit vector towards the sun in the world frame (x right, y down, z along)
    direct, ambient: strength of sunlight and skylight, 0 to about 1
    sky:      (2, 3) RGB at the horizon and overhead
    clouds:   contrast of the clouds, 0 to 1, and where in the sky's picture they start, in texels
    haze:     metres at which 63% of the contrast is gone
    exposure, gamma, tint: of the camera; tint (3,)
    noise:    standard deviation, grey levels
    blur:     standard deviation, pixels
    """

    sun: np.ndarray
    direct: float
    ambient: float
    sky: np.ndarray
    clouds: tuple[float, int]
    haze: float
    exposure: float
    gamma: float
    tint: np.ndarray
    noise: float
    blur: float


def light(seed: int, index: int, brightness: tuple[float, float], noise: tuple[float, float]) -> Light:
    """The light over street `index`."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, 3]))
    sunny = rng.random() < 0.6
    azimuth, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(18, 60))
    sun = np.array([np.cos(height) * np.sin(azimuth), -np.sin(height), np.cos(height) * np.cos(azimuth)])
    direct = rng.uniform(0.5, 0.95) if sunny else rng.uniform(0.0, 0.15)
    ambient = rng.uniform(0.35, 0.6) if sunny else rng.uniform(0.7, 0.95)
    if sunny and rng.random() < 0.5:
        sky = np.array([(225, 238, 250), (95, 150, 225)], float) * rng.uniform(0.9, 1.1)
    else:
        sky = np.array([(250, 250, 250), (235, 240, 245)], float) * rng.uniform(0.85, 1.08)
    return Light(
        sun=sun,
        direct=float(direct),
        ambient=float(ambient),
        sky=sky,
        clouds=(float(rng.uniform(0, 0.5)), int(rng.integers(2048))),
        haze=float(np.exp(rng.uniform(np.log(250), np.log(2500)))),
        exposure=float(rng.uniform(*brightness)),
        gamma=float(rng.uniform(0.85, 1.45)),
        tint=rng.uniform(0.94, 1.06, 3),
        noise=float(rng.uniform(*noise)),
        blur=float(rng.uniform(0.45, 0.75)),
    )


def _sun(light: Light, yaw: float) -> np.ndarray:
    """The sun's direction as the camera has it."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    x, y, z = light.sun
    return np.array([cosine * x - sine * z, y, sine * x + cosine * z])


def face_colours(f: Faces, placements: list[Placement], light: Light, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) RGB of each face and (F, 3) the factor on a papered face's picture; haze not included."""
    if not len(f):
        return np.zeros((0, 3)), np.zeros((0, 3))
    albedo = np.stack([p.colours for p in placements])[f.owner, f.material]
    up = -f.normal[:, 1]
    strength = light.ambient * (0.72 + 0.28 * up) + light.direct * np.maximum(f.normal @ _sun(light, yaw), 0)
    strength = np.where(
        f.material == mesh.TEXTURE, np.maximum(strength, 0.4 * (light.ambient + light.direct)), strength
    )
    warm = np.array([1.0, 0.985, 0.95])
    shade = strength[:, None] * warm
    # Paint and glass mirror the sky: more of it the higher they look.
    mirror = mesh.GLOSS[f.material] * np.clip(0.35 + 0.65 * up, 0, 1) * (light.ambient + 0.4 * light.direct)
    return albedo * shade + mirror[:, None] * light.sky.mean(axis=0), albedo * shade


def _haze(light: Light, depth: np.ndarray) -> np.ndarray:
    return np.exp(-np.asarray(depth) / light.haze)


def _sky(image: np.ndarray, rows: int, light: Light, pool: Pool, K: np.ndarray, yaw: float) -> None:
    """Fill image[:rows] with sky."""
    if rows < 1:
        return
    width = image.shape[1]
    height = np.clip((K[1, 2] - np.arange(rows)) / K[1, 1] * 2.2, 0, 1)[:, None]
    gradient = light.sky[0] * (1 - height) + light.sky[1] * height
    contrast, start = light.clouds
    texels = pool.sky.shape[1] / (2 * np.pi)
    step = texels / K[0, 0]
    columns = start + yaw * texels + (np.arange(width) - K[0, 2]) * step
    lines = np.arange(rows) * step * 1.6 % pool.sky.shape[0]
    map_u = np.broadcast_to((columns % pool.sky.shape[1]).astype(np.float32), (rows, width))
    map_v = np.broadcast_to(lines.astype(np.float32)[:, None], (rows, width))
    cloud = cv2.remap(pool.sky, map_u, map_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    layer = np.empty((rows, width, 3), np.float32)
    layer[:] = gradient[:, None]
    layer += ((cloud.astype(np.float32) - 110) * contrast)[..., None]
    image[:rows] = np.clip(layer, 0, 255)


def _shadows(
    placements: list[Placement], ground: tuple[float, float, float], K: np.ndarray, light: Light, yaw: float,
    width: int, height: int,
) -> np.ndarray:  # fmt: skip
    """(height, width) uint8: how dark the ground is, 0 for fully lit."""
    dark, contact = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    casting = [p for p in placements if p.shadow and p.box[2] < _SHADOWS_TO]
    if not casting:
        return dark
    boxes = np.array([p.box for p in casting])
    feet = box3d.corners(boxes)[:, :4][..., [0, 2]]
    centres = boxes[:, None, [0, 2]]
    sun = _sun(light, yaw)
    drift = -sun[[0, 2]] / max(-sun[1], 0.2)
    tops = (feet - centres) * 0.8 + centres + drift * boxes[:, 5, None, None] * 0.95
    disc = 0.4 * np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
    sunlit = int(230 * light.direct / (light.direct + light.ambient))
    for i, p in enumerate(casting):
        wide, tall = boxes[i, 4], boxes[i, 5]
        if light.direct > 0.2:
            if p.paper is not None and p.paper.cutout and p.mesh.two_sided.all():
                bottom = ground[0] + ground[1] * boxes[i, 2] + ground[2] * boxes[i, 0] - (boxes[i, 1] + tall / 2)
                crown = disc * wide + centres[i]
                points = np.concatenate([crown + drift * (bottom + 0.2 * tall), crown + drift * (bottom + 0.85 * tall)])
            else:
                points = np.concatenate([feet[i], tops[i]])
            _draw_on_ground(dark, points, ground, K, sunlit)
        if p.label is not None or tall < 1.3:
            _draw_on_ground(contact, feet[i], ground, K, 175 if boxes[i, 3] > 2.5 else 110)
    size = max(3, round(width / 220) | 1)
    return np.maximum(dark, cv2.blur(contact, (size, max(3, size // 2 | 1))))


def _draw_on_ground(
    canvas: np.ndarray, points: np.ndarray, ground: tuple[float, float, float], K: np.ndarray, value: int
) -> None:
    """Fill the hull of the points (n, 2) as x, z, metres on the ground plane."""
    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(float)
    floor = np.column_stack([hull[:, 0], ground[0] + ground[1] * hull[:, 1] + ground[2] * hull[:, 0], hull[:, 1]])
    if floor[:, 2].min() < NEAR:
        floor = clip_near(floor)
        if len(floor) < 3:
            return
    pixels = floor @ K.T
    pixels = np.minimum(np.maximum(pixels[:, :2] / pixels[:, 2:], -4000), 8000)
    cv2.fillConvexPoly(canvas, np.round(pixels * 16).astype(np.int32), value, cv2.LINE_AA, 4)


def _ground(
    image: np.ndarray, buffers: Buffers, street: Street, pose: Pose, light: Light, K: np.ndarray,
    placements: list[Placement],
) -> None:  # fmt: skip
    """Paint the ground's pixels."""
    seen = buffers.face == GROUND
    rows = np.flatnonzero(seen.any(axis=1))
    if not len(rows):
        return
    top, height, width = int(rows[0]), image.shape[0], image.shape[1]
    a, b, c = pose.ground(K)
    # Above the horizon, between the ground's pixels, the plane has no depth: any will do there.
    z = (a * np.arange(width)).astype(np.float32) + (b * np.arange(top, height) + c).astype(np.float32)[:, None]
    np.maximum(z, np.float32(1e-3), out=z)
    np.divide(np.float32(1), z, out=z)
    ray = ((np.arange(width) - K[0, 2]) / K[0, 0]).astype(np.float32)
    cosine, sine = np.float32(np.cos(pose.yaw)), np.float32(np.sin(pose.yaw))
    along = z * (cosine - sine * ray)
    across = z * (cosine * ray + sine)
    amplitude, scale, phase = street.bend
    bend = along * np.float32(1 / scale)
    bend += np.float32(pose.along / scale + phase)
    np.sin(bend, out=bend)
    bend *= np.float32(amplitude)
    across -= bend
    across += np.float32(street.centre(pose.along) + pose.lateral)
    np.clip(across, -HALF_WIDTH + 0.2, HALF_WIDTH - 0.2, out=across)
    middle = z[:, width // 2]
    # Metres of road per row of the image decide how coarse a picture it needs.
    profile = street.profile
    limits = [1.6 / profile.texels[i + 1][0] for i in range(len(profile.levels) - 1)]
    level = np.searchsorted(limits, middle**2 / (K[1, 1] * pose.height))
    colours = np.empty((height - top, width, 3), np.uint8)
    edges = np.flatnonzero(np.diff(level)) + 1
    for first, last in zip([0, *edges], [*edges, height - top], strict=True):
        picture, (per_along, per_across) = profile.levels[level[first]], profile.texels[level[first]]
        band = slice(first, last)
        lines = along[band] * np.float32(per_along)
        lines += np.float32(pose.along * per_along % len(picture) - 0.5)
        columns = across[band] * np.float32(per_across)
        columns += np.float32(HALF_WIDTH * per_across - 0.5)
        cv2.remap(picture, columns, lines, cv2.INTER_LINEAR, dst=colours[band], borderMode=cv2.BORDER_WRAP)
    dark = _shadows(placements, (pose.height, *pose.slope), K, light, pose.yaw, width, height)[top:]
    clear = _haze(light, middle)[:, None]
    # One unit of gain is 2 / 255, so that bright ground in the sun can be lit by more than 1.
    lit = (light.ambient + light.direct * max(-light.sun[1], 0)) * clear / 2
    gain = ((255 - dark) * lit.astype(np.float32)).astype(np.uint8)
    colours = cv2.multiply(colours, cv2.merge([gain, gain, gain]), scale=2 / 255)
    veil = light.sky[0] * (1 - clear)
    hazy = int(np.searchsorted(-veil.max(axis=1), -1.0))
    if hazy:
        layer = np.repeat(np.clip(veil[:hazy, None], 0, 255).astype(np.uint8), width, axis=1)
        colours[:hazy] = cv2.add(colours[:hazy], layer)
    cv2.copyTo(colours, seen[top:].view(np.uint8), image[top:])


def paint(
    buffers: Buffers, f: Faces, placements: list[Placement], street: Street, pose: Pose, light: Light, K: np.ndarray,
    pool: Pool,
) -> np.ndarray:  # fmt: skip
    """The picture (H, W, 3) uint8 RGB, before the camera's noise."""
    flat, factor = face_colours(f, placements, light, pose.yaw)
    clear = _haze(light, f.quads[..., 2].mean(axis=1))[:, None]
    flat = flat * clear + light.sky[0] * (1 - clear)
    palette = np.zeros((len(f) + FIRST_FACE, 4), np.uint8)
    palette[FIRST_FACE:, :3] = np.clip(flat, 0, 255)
    image = palette.view(np.uint32)[:, 0].take(buffers.face).view(np.uint8).reshape(*buffers.face.shape, 4)
    image = cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)
    sky = buffers.face == SKY
    rows = np.flatnonzero(sky.any(axis=1))
    if len(rows):
        count = int(rows[-1]) + 1
        layer = np.empty((count, image.shape[1], 3), np.uint8)
        _sky(layer, count, light, pool, K, pose.yaw)
        cv2.copyTo(layer, sky[:count].view(np.uint8), image[:count])
    _ground(image, buffers, street, pose, light, K, placements)
    for i, (top, left, sheet) in buffers.papered.items():
        width, height = sheet.size
        seen = buffers.face[top : top + height, left : left + width] == FIRST_FACE + i
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if not len(rows):
            continue
        y, x = int(rows[0]), int(columns[0])
        seen = np.ascontiguousarray(seen[y : rows[-1] + 1, x : columns[-1] + 1])
        height, width = seen.shape
        picture = sheet.part(y, x, (width, height)).colours()
        top, left = top + y, left + x
        table = _GREYS * (factor[i] * clear[i]) + light.sky[0] * (1 - clear[i])
        table = np.minimum(table, 255).astype(np.uint8)
        cv2.copyTo(
            cv2.LUT(picture, table[:, None]), seen.view(np.uint8), image[top : top + height, left : left + width]
        )
    return image


def expose(image: np.ndarray, light: Light, pool: Pool, offset: tuple[int, int]) -> np.ndarray:
    """What the sensor makes of the picture: blur, exposure, gamma, tint, noise."""
    image = cv2.GaussianBlur(image, (3, 3), light.blur)
    levels = np.linspace(0, 1, 256)[:, None] * light.exposure * light.tint
    table = np.clip(255 * np.clip(levels, 0, None) ** light.gamma, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[:, None])
    height, width = image.shape[:2]
    rows, columns = pool.noise.shape[:2]
    grain = pool.noise
    if height > rows // 2 or width > columns // 2:
        grain = np.tile(grain, (-(-height // rows) + 1, -(-width // columns) + 1, 1))
    top, left = offset[0] % rows, offset[1] % columns
    top, left = min(top, grain.shape[0] - height), min(left, grain.shape[1] - width)
    grain = np.ascontiguousarray(grain[top : top + height, left : left + width])
    strength = light.noise / 24
    return cv2.addWeighted(image, 1.0, grain, strength, -128 * strength)
