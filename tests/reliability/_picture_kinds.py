"""Kinds of mutated pictures, one for each format, and how anybody would decode them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from _kinds import Kind, Unequal
from _mutators import damage_picture
from PIL import Image

__all__ = ["picture_kinds", "plain_picture"]


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _pictures() -> dict[str, list[bytes]]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    rgb = Image.fromarray(small).resize((24, 24), Image.Resampling.BICUBIC)
    alpha = rgb.copy()
    alpha.putalpha(rgb.convert("L"))
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    grey, palette, cmyk = rgb.convert("L"), rgb.convert("P"), rgb.convert("CMYK")
    exif = Image.Exif()
    exif[274] = 6
    frames = [rgb.rotate(90 * i) for i in range(3)]
    more: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return {
        "jpeg": [
            _encoded(rgb, "JPEG", quality=90, exif=exif),
            _encoded(rgb, "JPEG", progressive=True),
            _encoded(grey, "JPEG"),
            _encoded(cmyk, "JPEG"),
        ],
        "png": [_encoded(image, "PNG") for image in (rgb, alpha, deep, palette, grey.convert("1"))]
        + [_encoded(rgb, "PNG", exif=exif)],
        "gif": [_encoded(palette, "GIF"), _encoded(frames[0], "GIF", **more)],
        "bmp": [_encoded(image, "BMP") for image in (rgb, grey, palette, alpha)],
        "tiff": [
            _encoded(rgb, "TIFF"),
            _encoded(rgb, "TIFF", compression="tiff_lzw"),
            _encoded(rgb, "TIFF", compression="jpeg"),
            _encoded(deep, "TIFF", compression="tiff_deflate"),
            _encoded(cmyk, "TIFF"),
            _encoded(frames[0], "TIFF", **more),
        ],
        "webp": [
            _encoded(rgb, "WEBP"),
            _encoded(alpha, "WEBP", lossless=True),
            _encoded(frames[0], "WEBP", exif=exif, **more),
        ],
        "ppm": [_encoded(rgb, "PPM"), _encoded(grey, "PPM"), b"P3 24 24 255\n" + b"7 9 8 " * 576],
        "jpeg2000": [_encoded(rgb, "JPEG2000"), _encoded(grey, "JPEG2000")],
    }


_TURNS = {
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a),
}  # fmt: skip


def plain_picture(content: bytes) -> np.ndarray:
    """Decode as anybody would with Pillow: whole bytes, no limits, own arithmetic."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        turn = image.getexif().get(274, 1)
        if image.mode.startswith("I") or image.mode == "F":
            values = np.asarray(image).astype(np.float64)
            pixels = np.rint(values * (255 if image.mode == "F" else 255 / 65535))
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            rgba = np.asarray(image.convert("RGBA")).astype(np.float64)
            share = rgba[..., 3:] / 255
            pixels = np.rint(rgba[..., :3] * share + 255 * (1 - share))
        else:
            pixels = np.asarray(image.convert("RGB")).astype(np.float64)
    return _TURNS.get(turn, lambda a: a)(pixels)


def _check_picture(found: np.ndarray, content: bytes, good: bytes) -> bool:
    expected = plain_picture(content)
    if found.shape != expected.shape or np.abs(found - expected).max() > 1:
        raise Unequal(f"picture of shape {found.shape} is not Pillow's of {expected.shape}")
    return True


def picture_kinds() -> dict[str, Kind]:
    """Make a kind for each format."""
    from adafer.faces import FaceReadError, read_face

    shares = {"jpeg": 900, "png": 800, "tiff": 700, "gif": 600, "webp": 500, "bmp": 400}
    return {
        name: Kind(
            seeds,
            damage_picture,
            lambda path, _: read_face(path),
            (FaceReadError,),
            _check_picture,
            shares.get(name, 250),
        )
        for name, seeds in _pictures().items()
    }
