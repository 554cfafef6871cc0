"""A digest of the rules of a study's claims, for the ledger: it says whether they have changed since a run.

Of the code that decides: claims, what they measure, tests and correction; not of figures. As for the cells, comments
and docstrings do not count. A digest of the content, since the commit that a ledger belongs to does not exist yet when
the ledger is written.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PARTS = (
    "claims",
    "measures",
    "evidence",
    "dose",
    "admission",
    "screening",
    "twins",
    "labels",
)  # of a study, where it has them
COMMON = ("claims/claim.py", "claims/verdict.py", "claims/ledger.py", "statistics.py")
STUDIES = Path(__file__).parents[1]


def normalised(text: str) -> str:
    """The code without comments, docstrings and line breaks. Raises SyntaxError."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@cache  # the ledger asks for each claim
def digest(study: str) -> str:
    """Twelve hexadecimal digits."""
    own = [STUDIES / study / f"{part}.py" for part in PARTS]
    files = [*(path for path in own if path.exists()), *(STUDIES / name for name in COMMON)]
    code = "\n".join(normalised(path.read_text(encoding="utf-8")) for path in files)
    return hashlib.sha256(code.encode()).hexdigest()[:12]
