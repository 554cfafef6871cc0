"""How fast the study's way of computing is against a plain one, as ratios: `python -m benchmarks.speed`."""
