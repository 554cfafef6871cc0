"""Python and commands in README and site run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from pipeline import scales
from vpstudy import paths

DOCUMENTS = [paths.ROOT / "README.md", *sorted((paths.ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_runs(document: Path) -> None:
    for example in Sybil([PythonCodeBlockParser()]).parse(document).examples():
        example.evaluate()


def commands(document: Path) -> list[str]:
    parser = CodeBlockParser(language="bash", evaluator=lambda _: None)
    return [example.parsed for example in Sybil([parser]).parse(document).examples()]


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if commands(each)], ids=lambda path: path.name)
def test_commands_run(document: Path, tmp_path: Path) -> None:
    """In a clone, where make says what it would do, and DVC lists its stages: neither does the study's work."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    env |= {"MAKEFLAGS": "n", "DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "PYTHONPATH": str(tmp_path / "vpstudy")}
    script = "\n".join(commands(document))
    script = f"git clone -q {paths.ROOT} vpstudy && cd vpstudy\n{script}"
    script = script.replace("cd vpstudy\n", f"cd vpstudy\nln -s {sys.prefix} .venv\n")
    script = script.replace("dvc repro", "dvc stage list")
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_is_short_and_its_three_lines_replace_existing_ones() -> None:
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"<!-- claims of.*<!-- end of claims -->", "", text, flags=re.DOTALL)
    assert len(re.findall(r"\S*\w\S*", prose)) <= 900
    default = scales.parameters("default")
    assert (default.pictures, default.fetched) == ({}, []) and default.hidden_cost.axes.targets
