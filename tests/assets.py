"""Real pictures and weights, which are no part of the project: tests that use them skip where they are absent."""

import os
from pathlib import Path

import pytest

from vpstudy import paths

ASSETS = Path(os.environ.get("VPSTUDY_ASSETS", paths.ROOT.parent / "shared/assets"))


def needed_by(scale: str) -> None:
    """Name their folder to a scale whose pages show such pictures, or skip the test."""
    if "$VPSTUDY_ASSETS" in (paths.SCALES / scale / "params.yaml").read_text(encoding="utf-8"):
        if not ASSETS.is_dir():
            pytest.skip(f"scale {scale} shows pictures of VPSTUDY_ASSETS, which is not set")
        os.environ["VPSTUDY_ASSETS"] = str(ASSETS)
