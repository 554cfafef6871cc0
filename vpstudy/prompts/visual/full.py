"""A value for each pixel, added to the picture."""

from typing import ClassVar

from vpstudy.prompts.visual.kinds import Added


class Full(Added):
    """Source: Bahng et al. (2022)."""

    label: ClassVar = "full-picture prompt"
