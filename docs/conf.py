"""Configuration of Sphinx for the site, which `make site` builds from stored results; nothing is executed.

Written before each build, and not kept in git: `results/` (rendered notebooks with their code folded, and a page with
their list), `python/` (a page a module), `claims.html` (the answers on the start page) and `_static/itables.*`.
"""

import base64
import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from studies.claims.answers import answers, scales  # noqa: E402
from vpstudy import paths  # noqa: E402

project = "vpstudy"
author = copyright = "vpstudy authors, MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.apidoc", "sphinx_copybutton"]
exclude_patterns = ["built", "python/modules.rst"]

html_theme = "furo"
html_title = "vpstudy"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_search_summary = False  # it reads pages through the network, which a page opened from disk may not
html_math_renderer = "mathml"
html_copy_source = False

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # names such as Settings, of which several modules have one

apidoc_modules = [{"path": "../vpstudy", "destination": "python", "separate_modules": True, "module_first": True}]
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
add_module_names = False
default_role = "code"  # docstrings mark code with single backticks


def write_sources() -> None:
    """Write what the site shows of the committed results."""
    for folder in ("results", "python"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    entries = ["# Results\n", "Every figure and table, one page a paper and scale; the code is folded.\n"]
    for scale in scales():
        listed = []
        for file in sorted((paths.NOTEBOOKS / "rendered" / scale).glob("*.ipynb")):
            if (paths.FIGURES / scale / file.stem[3:] / "not_run.md").exists():
                continue
            notebook = json.loads(file.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    tags = cell["metadata"].setdefault("tags", [])
                    tags.append("remove-cell" if {"parameters", "injected-parameters"} & {*tags} else "hide-input")
            target = HERE / "results" / scale / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(notebook), encoding="utf-8")
            title = "".join(notebook["cells"][0]["source"]).partition("\n")[0].removeprefix("# ")
            listed.append(f"{title} ({scale}) <{scale}/{file.stem}>")
        entries += [f"```{{toctree}}\n:caption: Scale {scale}\n:maxdepth: 1\n", *listed, "```\n"]
    (HERE / "results" / "index.md").write_text("\n".join(entries), encoding="utf-8")
    whole = answers().replace(", +", ",&nbsp;+").replace(", -", ",&nbsp;-")  # no line ends inside an interval
    (HERE / "claims.html").write_text(whole, encoding="utf-8")
    bundle = files("itables") / "html"
    shutil.copyfile(bundle / "dt_bundle.css", HERE / "_static/itables.css")
    code = base64.b64encode((bundle / "dt_bundle.js").read_bytes()).decode()
    # As data: a browser imports no file of a page that is opened from disk.
    (HERE / "_static/itables.js").write_text(f"const itables = import('data:text/javascript;base64,{code}');\n")


def make_tables_sortable(app, name, *_) -> None:
    if name.startswith("results/"):
        app.add_css_file("itables.css", priority=100)  # before site.css, which has the last word
        app.add_js_file("itables.js")
        app.add_js_file("sortable.js")


def describe_figures(app, doctree, name) -> None:
    """Give each figure of a notebook the sentence below it as alternative text, and a link to its full size."""
    if not name.startswith("results/"):
        return
    described = "figure"
    for node in reversed([node for node in doctree.findall() if isinstance(node, nodes.paragraph | nodes.image)]):
        if isinstance(node, nodes.paragraph):
            described = node.astext()
            continue
        node["alt"] = described
        place = f"{'../' * name.count('/')}_images/{app.env.images[node['uri']][1]}"
        node.replace_self(nodes.reference("", "", node.copy(), refuri=place))


def prepare_docstring(app, what, name, obj, options, lines) -> None:
    """Show indented lines as they stand, and keep |w| in others from being read as a substitution."""
    indented = [line.startswith("    ") for line in [*lines, "", ""]]
    for k, line in enumerate(lines):
        if not indented[k]:
            literal = line.endswith(":") and indented[k + 2]
            lines[k] = line.replace("|", r"\|") + ":" * literal


def write_math(self, node) -> None:
    """Formulas as MathML, which browsers draw themselves: MathJax would come from the network."""
    block = isinstance(node, nodes.math_block)
    self.body.append(tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode


def setup(app) -> None:
    write_sources()
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("autodoc-process-docstring", prepare_docstring)
    app.connect("doctree-resolved", describe_figures)
    app.connect("html-page-context", make_tables_sortable)
