"""All paths of the project."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PARAMS = ROOT / "params.yaml"
STAGES = ROOT / "dvc.yaml"
SCALES = ROOT / "scales"
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
VECTORS = ROOT / "data" / "figures"  # figures as SVG and PDF
MODELS = ROOT / "data" / "models"
RAW = ROOT / "data" / "raw"  # downloaded files
PICTURES = ROOT / "data" / "pictures"  # decoded and resized
FEATURES = ROOT / "data" / "features"  # of pictures in locked networks
SPLITS = ROOT / "data" / "splits"  # of fetched targets; in git
TARGETS = ROOT / "data" / "targets"  # hashes of targets, as dependencies of cells
RESULTS = ROOT / "data" / "results"
AGAIN = ROOT / "data" / "again"  # verdicts of a second run, by scale; in git
PROBABILITIES = ROOT / "data" / "probabilities"
TIMINGS = ROOT / "data" / "timings"
CODE = ROOT / "data" / "code"  # hashes of modules and notebooks, as dependencies of cells
CELLS = ROOT / "data" / "notebooks"  # rendered notebooks of cells
RENDERED = NOTEBOOKS / "rendered"  # rendered final notebooks; in git, to read on the web
LOGS = ROOT / "data" / "logs"
