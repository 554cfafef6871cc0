"""One picture of any kind to RGB of one size."""

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import functional

VERSION = 1  # of what `decode` gives; a new one decodes every fetched picture again, and its cells run again
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")  # "I" is what PNGs of 16 bits were opened as


def decode(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (3, size, size): upright, its shorter side resized to `size` (bilinear, antialiased), its middle cut out.

    Grey, palettes, CMYK and others become RGB; transparent pixels are laid on black, which this project also puts
    around pictures; grey of 16 bits keeps its range. Raises OSError or SyntaxError for damaged pictures, as Pillow
    does, and ValueError for pictures of floats, whose range is unknown.
    """
    upright = ImageOps.exif_transpose(image)
    resized = functional.resize(rgb(upright), size, functional.InterpolationMode.BILINEAR)
    return np.moveaxis(np.asarray(functional.center_crop(resized, size)), 2, 0)


def rgb(image: Image.Image) -> Image.Image:
    """The picture in 8 bits a channel."""
    if image.mode == "F":
        raise ValueError("its values are floats; store it with 8 or 16 bits")
    if image.mode in SIXTEEN_BITS:
        grey = np.asarray(image, dtype=np.int64)
        return Image.fromarray((grey.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "black"), above).convert("RGB")
    return image.convert("RGB")
