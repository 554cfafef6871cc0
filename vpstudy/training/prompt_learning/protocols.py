"""Registry of protocols beside base-to-new, and of what shifts pictures. Free of torch, for the command line."""

PROTOCOLS = {
    "few_shot": "from few pictures of every class",  # a prompt for each number of pictures
    "elsewhere": "on shifted pictures and other targets",  # domain shift and cross-dataset: learned once, not again
}
SHIFTS = ("blur", "noise", "inverted", "rotated")  # vpstudy/data/shifts.py
