import copy
import sys
from pathlib import Path

import pytest

from pipeline import normalise
from studies.claims import verdict
from vpstudy import atomic, paths


def code(source, outputs=(), tags=(), **metadata):
    metadata = metadata | ({"tags": list(tags)} if tags else {})
    cell = {"cell_type": "code", "id": "abc", "metadata": metadata, "source": source}
    return cell | {"outputs": list(outputs), "execution_count": 7 if outputs else None}


def notebook(*cells, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def display(**data):
    data = {mime.replace("_", "/"): value for mime, value in data.items()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


PARAMETERS = 'scale = "default"  # which preset\nbudgets = [\n    1,\n    10,\n]\nseed = 0\nsave = False\n'


def source():
    prose = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": ["# Title\n", "prose"]}
    return notebook(prose, code(PARAMETERS, tags=["parameters"]), code("print(seed)\n"))


def printed(of):
    return [output.get("text") for cell in normalise.rendered(of)["cells"] for output in cell["outputs"]]


def test_a_saved_run_changes_nothing_in_the_copy():
    ran = source()
    ran["cells"][2] |= {"outputs": [stream("0\n")], "execution_count": 12, "id": "zzz"}
    ran["cells"][2]["metadata"] = {"execution": {"iopub": "2026"}, "collapsed": True}
    ran["cells"][2]["source"] = ["print(seed)   \n", "\n"]
    ran["metadata"] = {"language_info": {"name": "python", "version": "3.14"}, "kernelspec": {"name": "mine"}}
    assert normalise.strip(ran) == normalise.strip(source())


def test_another_parameter_value_changes_nothing_in_the_copy():
    tried = source()
    other = 'scale = "smoke"  # which preset\nbudgets = [5]\nseed = 123\nsave = True\n'
    tried["cells"][1]["source"] = other
    assert normalise.strip(tried) == normalise.strip(source())


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (0, "# Title\nother prose"),
        (1, PARAMETERS + "new = 1\n"),
        (1, PARAMETERS.replace("seed = 0", 'seed = "0"')),
        (2, "print(seed + 1)"),
    ],
)
def test_code_prose_names_and_types_do_change_the_copy(index, text):
    changed = source()
    changed["cells"][index]["source"] = text
    assert normalise.strip(changed) != normalise.strip(source())


def test_the_argument_stays_as_it_was():
    given = source()
    before = copy.deepcopy(given)
    stripped = normalise.strip(given)
    assert given == before
    assert [cell["id"] for cell in stripped["cells"]] == ["cell-00", "cell-01", "cell-02"]


def test_names_and_types_of_parameters_are_read():
    assert normalise.parameters(source()) == {"scale": "str", "budgets": "list", "seed": "int", "save": "bool"}
    assert normalise.parameters(notebook(code("1"))) == {}


@pytest.mark.parametrize("line", ["import os", "a, b = 1, 2", "x = f()", "x: int", "x = (", "x = y"])
def test_a_parameters_cell_holds_literals_only(line):
    with pytest.raises(ValueError, match="tagged `parameters`"):
        normalise.parameters(notebook(code(line, tags=["parameters"])))


def test_rendered_drops_what_changes_from_run_to_run():
    timed = code("1", [display(text_plain="1")], papermill={"duration": 1.5}, execution={"x": "2026"})
    result = {
        "output_type": "execute_result",
        "execution_count": 9,
        "metadata": {},
        "data": {"text/plain": "2"},
    }
    given = notebook(timed, code("2", [result]), code(""), papermill={"start_time": "2026"}, widgets={})
    page = normalise.rendered(given)
    assert page["metadata"] == normalise.strip(given)["metadata"]
    assert [cell["metadata"] for cell in page["cells"]] == [{}, {}, {}]
    assert [cell["execution_count"] for cell in page["cells"]] == [1, 2, None]
    assert page["cells"][1]["outputs"][0]["execution_count"] == 2


def test_streams_are_merged_between_displays_whichever_came_first():
    figure = display(text_plain="figure")
    one = notebook(code("", [stream("w", "stderr"), stream("a"), stream("b\n"), figure, stream("c")]))
    two = notebook(code("", [stream("a"), stream("b\n"), stream("w", "stderr"), figure, stream("c")]))
    assert printed(one) == printed(two) == ["ab\n", "w", None, "c"]


def test_progress_bars_and_timed_log_lines_are_dropped_and_warnings_kept():
    bar = "\rrun:  50%|█████     | 1/2 [00:01<00:01]\rrun: 100%|██████████| 2/2 [00:02<00:00]\n"
    logged = "[W1122 21:30:24.123 NNPACK.cpp:62] Could not initialize NNPACK!\n"
    assert printed(notebook(code("", [stream(bar, "stderr"), stream(logged, "stderr")]))) == []
    warned = notebook(code("", [stream("UserWarning: few pictures\n" + bar, "stderr")]))
    assert printed(warned) == ["UserWarning: few pictures\n"]
    assert printed(notebook(code("", [stream("10%\r20%\r30%\n")]))) == ["30%\n"]


def test_widgets_are_dropped():
    widget = display(**{"application_vnd.jupyter.widget-view+json": {"model_id": "1"}, "text_plain": "bar"})
    assert normalise.rendered(notebook(code("", [widget])))["cells"][0]["outputs"] == []


def test_addresses_and_places_of_this_machine_are_replaced():
    text = f"<object at 0x7f01ab23cd45> {paths.ROOT}/data {sys.prefix}/lib/x.py:3: Warn {Path.home()}/y"
    assert printed(notebook(code("", [stream(text)]))) == ["<object at 0x…> ./data <python>/lib/x.py:3: Warn ~/y"]
    assert printed(notebook(code("", [stream("/tmp/ipykernel_123/456.py:1: Warn")]))) == ["<cell>:1: Warn"]
    html = normalise.rendered(notebook(code("", [display(text_html=[f"<a href='{paths.ROOT}/f'>", "f</a>"])])))
    assert html["cells"][0]["outputs"][0]["data"] == {"text/html": "<a href='./f'>f</a>"}


def test_what_only_looks_like_such_a_place_stays():
    text = f"/data{paths.ROOT}/x {paths.ROOT}-old/x 0xff"
    assert printed(notebook(code("", [stream(text)]))) == [text]


def test_pictures_stay_as_they_are():
    outputs = [display(**{"image_png": "iVBORw0KGgo=\n", "image_svg+xml": "<svg/>"})]
    kept = normalise.rendered(notebook(code("", outputs)))["cells"][0]["outputs"][0]
    assert kept["data"] == {"image/png": "iVBORw0KGgo=\n", "image/svg+xml": "<svg/>"}


def test_a_rendered_page_is_already_normal(tmp_path):
    page = normalise.rendered(notebook(code("1", [stream("a\n"), display(text_plain="1")])))
    assert normalise.rendered(page) == page
    atomic.write_json(tmp_path / "a.ipynb", page)
    assert normalise.read(tmp_path / "a.ipynb") == page


@pytest.mark.parametrize("text", ["", "{}", '{"nbformat": 3}'])
def test_what_is_no_notebook_is_named(tmp_path, text):
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ValueError, match=r"a\.ipynb is no notebook"):
        normalise.read(tmp_path / "a.ipynb")


def test_sections_that_were_not_run_are_left_out():
    def section(name, *outputs):
        heading = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": [f"## {name}\n", "prose"]}
        return heading, code("show()", outputs)

    said = f"{verdict.NOT_RUN}\n"
    first = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Title"}, code("report()", [stream(said)])
    sections = [
        section("silent"),
        section("not run", stream(said), stream(said)),
        section("half", stream(said), display(text_html="a table")),
    ]
    kept = normalise.rendered(notebook(*first, *sum(sections, ())))["cells"]
    headings = [cell["source"].partition("\n")[0] for cell in kept if cell["cell_type"] == "markdown"]
    assert headings == ["# Title", "## silent", "## half"]
    assert [cell["id"] for cell in kept] == [f"cell-{k:02d}" for k in range(6)]
