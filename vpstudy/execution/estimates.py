"""Seconds that a stage takes on two cores: for plans, until this machine has timings of its own."""

SECONDS = {  # by scale and kind of stage
    "default": {
        "code": 1,
        "source": 75,
        "imp": 150,
        "compress": 12,
        "transfer": 75,
        "hidden_cost": 35,
        "claims": 15,
    },
    "smoke": {
        "code": 1,
        "source": 15,
        "imp": 14,
        "compress": 12,
        "transfer": 20,
        "hidden_cost": 25,
        "claims": 12,
    },
}


def seconds(scale: str) -> dict[str, float]:
    """Seconds by kind of stage; a scale of the reader's own is taken for as large as the default."""
    return SECONDS.get(scale, SECONDS["default"])
