"""Seconds that a stage takes on two cores: for plans, until this machine has timings of its own."""

SECONDS = {  # by scale and kind of stage
    "default": {
        "notebooks": 1,
        "source": 130,
        "imp": 190,
        "compress": 15,
        "transfer": 40,
        "hidden_cost": 20,
    },
    "smoke": {"notebooks": 1, "source": 15, "imp": 12, "compress": 9, "transfer": 11, "hidden_cost": 15},
}


def seconds(scale: str) -> dict[str, float]:
    """Seconds by kind of stage; a scale of the reader's own is taken for as large as the default."""
    return SECONDS.get(scale, SECONDS["default"])
