"""One picture to RGB of one size: every mode, against Pillow and torch as oracles."""

import hashlib
import io
import struct

import numpy as np
import pytest
import torch
from pictures import picture
from PIL import Image, ImageOps
from torch.nn import functional

from vpstudy.data.decoding import VERSION, decode

GREY = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)


def oracle(rgb: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) by torch's own antialiased bilinear, then the middle."""
    height, width = rgb.shape[:2]
    scale = size / min(height, width)
    sides = [size if side == min(height, width) else int(side * scale) for side in (height, width)]
    big = functional.interpolate(
        torch.from_numpy(np.moveaxis(rgb, 2, 0).astype(np.float32))[None], sides, mode="bilinear", antialias=True
    )[0]
    top, left = (round((side - size) / 2.0) for side in sides)
    return big[:, top : top + size, left : left + size].round().clamp(0, 255).numpy()


@pytest.mark.parametrize("sides", [(12, 9), (9, 12), (101, 37), (33, 200), (32, 32), (5, 7), (1, 3), (64, 65)])
@pytest.mark.parametrize("size", [32, 7])
def test_odd_sizes_are_resized_and_cut_as_torch_does(sides, size):
    image = picture("a", sides)
    decoded = decode(image, size)
    assert decoded.shape == (3, size, size) and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - oracle(np.asarray(image), size)).max() <= 2


def saved(image: Image.Image, kind: str, **options) -> Image.Image:
    """The picture as it comes back from a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def test_grey_of_8_and_16_bits_and_black_and_white_keep_their_range():
    square = GREY[:, :12]
    for image, expected in (
        (saved(Image.fromarray(square), "PNG"), square),
        (saved(Image.fromarray(square.astype(np.uint16) * 257), "PNG"), square),
        (saved(Image.fromarray(square.astype(np.uint16) * 257), "TIFF"), square),
        (Image.fromarray(square.astype(np.int32) * 257), square),
        (saved(Image.fromarray(square > 99), "PNG"), (square > 99) * 255),
    ):
        decoded = decode(image, 12)
        assert np.array_equal(decoded, np.stack([expected] * 3)), image.mode


def test_transparent_pixels_lie_on_black():
    pixels = np.full((4, 4, 4), 200, np.uint8)
    pixels[..., 3] = [0, 255, 128, 255]
    rgba = decode(saved(Image.fromarray(pixels), "PNG"), 4)
    assert (
        (rgba[:, :, 0] == 0).all()
        and (rgba[:, :, 1] == 200).all()
        and np.abs(rgba[:, :, 2].astype(int) - 100).max() < 2
    )
    la = Image.fromarray(pixels[..., 2:])
    assert la.mode == "LA" and np.array_equal(decode(saved(la, "PNG"), 4), rgba)


def test_palettes_with_and_without_transparency():
    image = picture("a", (8, 8)).quantize(16)
    expected = np.moveaxis(np.asarray(image.convert("RGB")), 2, 0)
    assert np.array_equal(decode(saved(image, "PNG"), 8), expected)
    with_hole = saved(image, "PNG", transparency=3)
    hole = np.asarray(image) == 3
    assert hole.any() and with_hole.mode == "P"
    assert np.array_equal(decode(with_hole, 8), np.where(hole, 0, expected))


def test_cmyk_is_read():
    red = Image.new("RGB", (6, 6), (220, 30, 30))
    decoded = decode(saved(red.convert("CMYK"), "TIFF"), 6)
    assert np.abs(decoded[:, 0, 0].astype(int) - (220, 30, 30)).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_is_followed(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = saved(picture("a", (8, 8)), kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(image)
    decoded = decode(saved(picture("a", (8, 8)), kind, exif=exif, **options), 8)
    assert np.array_equal(np.moveaxis(decoded, 0, 2), np.asarray(upright))
    if orientation in (3, 6, 8):
        turned = np.rot90(np.asarray(picture("a", (8, 8))), {3: 2, 6: 3, 8: 1}[orientation])
        assert np.array_equal(np.asarray(upright), turned)


def exif(second: bytes, value: bytes) -> bytes:
    """Exif by hand: orientation 6, one more tag (12 bytes), and what that points to."""
    head = b"II*\0" + struct.pack("<IH", 8, 2) + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    return b"Exif\0\0" + head + second + b"\0\0\0\0" + value


MALFORMED = {
    "no fraction": exif(struct.pack("<HHII", 0x11B, 10, 1, 38), struct.pack("<ii", -1, 0)),
    "width as text": exif(struct.pack("<HHI4s", 0x100, 2, 2, b"x\0\0\0"), b""),
    "points outside": exif(struct.pack("<HHII", 0x10F, 2, 1000, 1 << 30), b""),
    "unknown type": exif(struct.pack("<HHII", 0x10F, 99, 1, 0), b""),
    "cut": exif(b"", b"")[:20],
    "noise": b"Exif\0\0" + bytes(range(60)),
}


@pytest.mark.parametrize("tags", MALFORMED.values(), ids=MALFORMED)
def test_malformed_exif_is_no_obstacle(tags):
    image = picture("a", (40, 24))
    plain = np.asarray(saved(image, "JPEG"))
    decoded = np.moveaxis(decode(saved(image, "JPEG", exif=tags), 24), 0, 2)
    ways = [np.moveaxis(decode(Image.fromarray(each), 24), 0, 2) for each in (np.rot90(plain, 3), plain)]
    readable = saved(image, "JPEG", exif=tags).getexif().get(0x112) == 6
    assert np.array_equal(decoded, ways[0 if readable else 1])


def test_pixels_change_only_with_the_version():
    """Decoded files and results are kept by `VERSION`: raise it with every change of `decode`, and then this digest."""
    images = [picture("a", sides) for sides in ((40, 40), (101, 37), (5, 7))]
    images.append(Image.fromarray(GREY.astype(np.uint16) * 257))
    pixels = b"".join(decode(image, 16).tobytes() for image in images)
    assert (VERSION, hashlib.sha256(pixels).hexdigest()[:16]) == (1, "b492ac7c28209087")


def test_floats_are_refused():
    with pytest.raises(ValueError, match="its values are floats; store it with 8 or 16 bits"):
        decode(Image.fromarray(np.ones((4, 4), np.float32)), 4)
