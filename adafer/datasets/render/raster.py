"""Compiled inner loops: triangles to pixels, normals, noise. All are free of fast-math."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from .assets import FloatArray, IntArray

FAR = 1e9


@dataclass(frozen=True)
class Fragments:
    """What is seen through each pixel.

    Parameters
    ----------
    depth : ndarray of shape (height, width)
        Distance along the view, ``FAR`` where nothing is seen.
    triangle : ndarray of shape (height, width)
        Seen triangle, -1 where nothing is seen.
    barycentric : ndarray of shape (height, width, 3)
        Position within the triangle.
    corners : ndarray of shape (height, width, 3)
        Vertices of the seen triangle (of the first where nothing is seen).
    """

    depth: FloatArray
    triangle: NDArray[np.int32]
    barycentric: FloatArray
    corners: IntArray

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Pixels that see a triangle."""
        return self.triangle >= 0

    def interpolate(self, values: FloatArray) -> FloatArray:
        """Carry values of vertices, shape (n_vertices,) or (n_vertices, k), to the pixels."""
        table = values.reshape(len(values), -1)
        result = _interpolate(table, self.corners, self.barycentric)
        return result[..., 0] if values.ndim == 1 else result

    def interpolate_directions(self, directions: FloatArray) -> FloatArray:
        """Like `interpolate`, at length one."""
        return normalised(self.interpolate(directions))


def normalised(vectors: FloatArray) -> FloatArray:
    """Vectors along the last axis at length one; a zero vector stays zero."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def rasterise(points: FloatArray, triangles: IntArray, width: int, height: int) -> Fragments:
    """Find the nearest triangle of each pixel.

    Parameters
    ----------
    points : ndarray of shape (n_vertices, 3)
        Column, row and depth of the vertices, in pixels.
    triangles : ndarray of shape (n_triangles, 3)
        Vertices of the triangles.
    width, height : int
        Size of the picture in pixels.

    Returns
    -------
    Fragments
    """
    depth, triangle, barycentric = _rasterise(points, triangles, width, height)
    return Fragments(depth, triangle, barycentric, triangles[np.maximum(triangle, 0)])


@numba.njit(cache=True)
def _interpolate(values, corners, barycentric):
    height, width = corners.shape[:2]
    bands = values.shape[1]
    result = np.empty((height, width, bands))
    for row in range(height):
        for column in range(width):
            at_a, at_b, at_c = barycentric[row, column]
            a, b, c = corners[row, column]
            for band in range(bands):
                result[row, column, band] = (
                    at_a * values[a, band] + at_b * values[b, band] + at_c * values[c, band]
                )
    return result


@numba.njit(cache=True)
def nearer_share(points, depth, offsets, bias):
    """Share of the places around each point at which it is not behind a depth map.

    Parameters
    ----------
    points : ndarray of shape (height, width, 3)
        Column, row and depth in the map.
    depth : ndarray of shape (rows, columns)
        The map.
    offsets : ndarray of shape (n_offsets, 2)
        Places to look at, in columns and rows of the map.
    bias : float
        Depth behind the map that still counts.

    Returns
    -------
    ndarray of shape (height, width)
        In [0, 1].
    """
    height, width = points.shape[:2]
    rows, columns = depth.shape
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            across, down, away = points[row, column]
            count = 0
            for number in range(offsets.shape[0]):
                x = int(min(max(across - 0.5 + offsets[number, 0], 0), columns - 1))
                y = int(min(max(down - 0.5 + offsets[number, 1], 0), rows - 1))
                if away < depth[y, x] + bias:
                    count += 1
            result[row, column] = count / offsets.shape[0]
    return result


@numba.njit(cache=True)
def _rasterise(points, triangles, width, height):
    depth = np.full((height, width), FAR)
    nearest = np.full((height, width), -1, np.int32)
    barycentric = np.zeros((height, width, 3))
    for number in range(triangles.shape[0]):
        a, b, c = triangles[number, 0], triangles[number, 1], triangles[number, 2]
        ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-12:
            continue
        left = max(0, math.floor(min(ax, bx, cx)))
        right = min(width - 1, math.ceil(max(ax, bx, cx)))
        top = max(0, math.floor(min(ay, by, cy)))
        bottom = min(height - 1, math.ceil(max(ay, by, cy)))
        inverse = 1 / area
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                x = column + 0.5
                at_a = ((bx - x) * (cy - y) - (cx - x) * (by - y)) * inverse
                at_b = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) * inverse
                at_c = 1 - at_a - at_b
                if at_a < 0 or at_b < 0 or at_c < 0:
                    continue
                here = at_a * points[a, 2] + at_b * points[b, 2] + at_c * points[c, 2]
                if here < depth[row, column]:
                    depth[row, column] = here
                    nearest[row, column] = number
                    barycentric[row, column, 0] = at_a
                    barycentric[row, column, 1] = at_b
                    barycentric[row, column, 2] = at_c
    return depth, nearest, barycentric


@numba.njit(cache=True)
def vertex_normals(vertices, triangles):
    """Mean direction of the triangles around each vertex, weighted by area.

    Parameters
    ----------
    vertices : ndarray of shape (n_vertices, 3)
    triangles : ndarray of shape (n_triangles, 3)

    Returns
    -------
    ndarray of shape (n_vertices, 3)
        Directions of length one; zero for vertices without a triangle.
    """
    normals = np.zeros_like(vertices)
    for number in range(triangles.shape[0]):
        a, b, c = triangles[number, 0], triangles[number, 1], triangles[number, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for vertex in range(normals.shape[0]):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        length = math.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[vertex, 0] = x / length
            normals[vertex, 1] = y / length
            normals[vertex, 2] = z / length
    return normals


def value_noise(points: FloatArray, seed: int, frequency: float, octaves: int = 3) -> FloatArray:
    """Smooth noise in space, from hashed integers and so the same on every machine.

    Parameters
    ----------
    points : ndarray of shape (..., 3)
        Where to read the noise.
    seed : int
        Which noise.
    frequency : float
        Bumps per unit of length in the first octave.
    octaves : int
        Layers, each with twice the frequency and half the height of the last.

    Returns
    -------
    ndarray of shape (...)
        Values around 0, within (-1, 1).
    """
    flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    noise = _value_noise(flat, int(seed) & 0xFFFFFF, float(frequency), octaves)
    return noise.reshape(points.shape[:-1])


@numba.njit(cache=True)
def _value_noise(points, seed, frequency, octaves):
    result = np.zeros(points.shape[0])
    for number in range(points.shape[0]):
        height = 1.0
        for octave in range(octaves):
            scale = frequency * 2.0**octave
            x, y, z = (
                points[number, 0] * scale,
                points[number, 1] * scale,
                points[number, 2] * scale,
            )
            left, low, near = math.floor(x), math.floor(y), math.floor(z)
            x, y, z = x - left, y - low, z - near
            x, y, z = x * x * (3 - 2 * x), y * y * (3 - 2 * y), z * z * (3 - 2 * z)
            total = 0.0
            for i in range(2):
                for j in range(2):
                    for k in range(2):
                        mixed = (
                            (np.int64(left) + i) * 73856093
                            ^ (np.int64(low) + j) * 19349663
                            ^ (np.int64(near) + k) * 83492791
                            ^ (seed * 40503 + octave * 977)
                        ) & 0xFFFFFFFF
                        mixed = (mixed * 1103515245 + 12345) & 0x7FFFFFFF
                        weight = (x if i else 1 - x) * (y if j else 1 - y) * (z if k else 1 - z)
                        total += weight * (((mixed >> 7) & 0xFFFF) / 65535.0)
            result[number] += height * (total - 0.5)
            height *= 0.5
    return result
