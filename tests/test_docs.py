"""Python and commands in README and site run as they stand."""

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from vpstudy import paths

DOCUMENTS = [paths.ROOT / "README.md", *sorted((paths.ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_runs(document: Path) -> None:
    for example in Sybil([PythonCodeBlockParser()]).parse(document).examples():
        example.evaluate()
