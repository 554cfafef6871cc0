"""Decoding of pictures in any mode to RGB of one size."""

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import functional

VERSION = 1  # raise it when the output of `decode` changes: fetched pictures are decoded again, their cells rerun
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")  # older versions of Pillow open 16-bit PNGs as "I"


def decode(image: Image.Image, size: int) -> np.ndarray:
    """Apply EXIF rotation, resize the shorter side (bilinear, antialiased), centre crop: uint8 (3, size, size).

    Raises OSError or SyntaxError (from Pillow) for damaged pictures, ValueError for floats, whose range is unknown.
    """
    upright = ImageOps.exif_transpose(image)
    resized = functional.resize(rgb(upright), size, functional.InterpolationMode.BILINEAR)
    return np.moveaxis(np.asarray(functional.center_crop(resized, size)), 2, 0)


def rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB: 16-bit grey keeps its range; transparency goes on black, like this project's borders."""
    if image.mode == "F":
        raise ValueError("its values are floats; store it with 8 or 16 bits")
    if image.mode in SIXTEEN_BITS:
        grey = np.asarray(image, dtype=np.int64)
        return Image.fromarray((grey.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "black"), above).convert("RGB")
    return image.convert("RGB")
