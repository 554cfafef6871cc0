"""Where everything lies. One place, so that no other module spells a folder out."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PARAMS = ROOT / "params.yaml"
STAGES = ROOT / "dvc.yaml"
SCALES = ROOT / "scales"
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
VECTORS = ROOT / "data" / "figures"  # the same as SVG and PDF
MODELS = ROOT / "data" / "models"
RAW = ROOT / "data" / "raw"  # what was fetched from elsewhere
PICTURES = ROOT / "data" / "pictures"  # decoded and resized ones
SPLITS = ROOT / "data" / "splits"  # of fetched targets, in git
TARGETS = ROOT / "data" / "targets"  # what cells depend on of targets
RESULTS = ROOT / "data" / "results"
PROBABILITIES = ROOT / "data" / "probabilities"
TIMINGS = ROOT / "data" / "timings"
CODE = ROOT / "data" / "code"  # what cells depend on of modules and notebooks
CELLS = ROOT / "data" / "notebooks"  # rendered notebooks of single cells
RENDERED = NOTEBOOKS / "rendered"  # rendered final notebooks, committed to be read on the web
LOGS = ROOT / "data" / "logs"
