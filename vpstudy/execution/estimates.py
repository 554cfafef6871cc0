"""Seconds that a stage takes on two cores: for plans, until this machine has timings of its own."""

SECONDS = {  # by scale and kind of stage
    "default": {
        "code": 1,
        "pictures": 60,
        "source": 40,
        "imp": 90,
        "compress": 4,
        "transfer": 22,
        "prune_with_prompts": 55,
        "clip_source": 110,
        "prompt": 60,
        "protocol": 70,
        "quantize_visual_prompt": 45,
        "hidden_cost": 15,
        "vpns": 15,
        "qprompt": 15,
        "across": 10,
        "claims": 5,
    },
    "extended": {
        "code": 1,
        "pictures": 60,
        "source": 50,
        "imp": 480,
        "compress": 15,
        "transfer": 30,
        "prune_with_prompts": 70,
        "clip_source": 110,
        "prompt": 60,
        "protocol": 70,
        "quantize_visual_prompt": 45,
        "hidden_cost": 60,
        "vpns": 40,
        "qprompt": 15,
        "across": 15,
        "claims": 10,
    },
    "smoke": {
        "code": 1,
        "pictures": 60,
        "source": 8,
        "imp": 8,
        "compress": 4,
        "transfer": 9,
        "prune_with_prompts": 8,
        "clip_source": 15,
        "prompt": 12,
        "protocol": 12,
        "quantize_visual_prompt": 8,
        "hidden_cost": 10,
        "vpns": 8,
        "qprompt": 8,
        "across": 8,
        "claims": 4,
    },
}


def seconds(scale: str) -> dict[str, float]:
    """Seconds by kind of stage; a scale of the reader's own is taken for as large as the default."""
    return SECONDS.get(scale, SECONDS["default"])
