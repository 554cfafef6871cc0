import json
import math

import numpy as np
import pytest

from studies import results
from studies.cells import Cell
from vpstudy import atomic

BINS = {"count": [0, 5], "confidence": [None, 0.75], "accuracy": [None, 0.5]}


def cell(target="digits", compression="int4"):
    return Cell.of("transfer", "hidden_cost", "smoke", backbone="cnn", compression=compression, target=target)


def row(seed=0, **changes):
    metrics = {"accuracy": 0.1 + seed, "ece": 1 / 3}
    ok = {"method": "linear_probe", "budget": "1", "seed": seed, "status": "ok", "reason": None}
    return ok | {"metrics": metrics, "reliability": BINS} | changes


def diverged(seed=0, **changes):
    return row(seed, status="diverged", reason="loss is nan", metrics=None, reliability=None) | changes


def record(of=None, rows=None):
    of = of or cell()
    identity = {
        "stage": of.stage,
        "study": of.study,
        "scale": of.scale,
        **dict(of.axes),
        "settings": {"a": 1},
    }
    return {"cell": identity, "environment": {"torch": "2"}, "facts": {}, "rows": rows or [row()]}


def test_the_path_is_made_of_scale_study_stage_and_slug(tmp_path):
    at = results.path(cell(), tmp_path)
    assert at == tmp_path / "smoke" / "hidden_cost" / "transfer-cnn-int4-digits.json"


def test_what_is_written_is_read_again_bit_for_bit(tmp_path):
    given = record(rows=[row(metrics={"accuracy": 0.1 + 0.2, "nll": 1e-17, "ece": 5e-324}), diverged(seed=1)])
    results.write(results.path(cell(), tmp_path), [given])
    (content,) = results.read([cell()], tmp_path).contents
    assert content == {"cell": given["cell"] | {"source_seed": 0}, "facts": {}, "rows": given["rows"]}


def test_each_source_checkpoint_has_its_rows_and_its_facts(tmp_path):
    given = [record(rows=[row(), row(1)]) | {"facts": {"size": k}} for k in range(2)]
    results.write(results.path(cell(), tmp_path), given)
    read = results.read([cell()], tmp_path)
    assert read.frame[["source_seed", "seed"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [(each["cell"]["source_seed"], each["facts"]["size"]) for each in read.contents] == [(0, 0), (1, 1)]
    assert read.cells == [cell()]


def test_the_same_record_gives_the_same_bytes_whatever_the_order_of_its_keys(tmp_path):
    given = record()
    results.write(tmp_path / "a.json", [given])
    results.write(tmp_path / "b.json", [dict(reversed(given.items()))])
    text = (tmp_path / "a.json").read_text()
    assert text == (tmp_path / "b.json").read_text()
    assert text.endswith("}\n")
    assert '"count": [0, 5]' in text


def test_brackets_and_newlines_in_strings_survive_the_layout(tmp_path):
    names = ["[", "]", "[\n 1\n]", "{", "a,", "é"]
    given = record() | {"facts": {"classes": names, "nested": [[1, 2], [3]], "empty": []}}
    results.write(tmp_path / "a.json", [given])
    assert json.loads((tmp_path / "a.json").read_text())["checkpoints"][0]["facts"] == given["facts"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_refused_with_its_place(tmp_path, value):
    with pytest.raises(ValueError, match=r"rows\.1\.metrics\.ece: .*: should be a finite number"):
        results.write(tmp_path / "a.json", [record(rows=[row(), row(1, metrics={"ece": value})])])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.float32(1), np.int64(1), np.zeros(2), {1: "a"}, {1, 2}])
def test_what_is_no_plain_value_is_refused_with_its_place(tmp_path, value):
    with pytest.raises(ValueError, match=r"facts\.x"):
        results.write(tmp_path / "a.json", [record() | {"facts": {"x": value}}])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row()], "stand twice"),
        ([row(status="failed")], "should be 'ok' or 'diverged'"),
        ([row(metrics=None)], "that is ok has metrics"),
        ([row(metrics={"ece": None})], r"rows\.0\.metrics\.ece: None: should be a valid number"),
        ([diverged(reason=None)], "has a reason"),
        ([diverged(metrics={"ece": 0.5})], "null for metrics"),
        ([{"method": "linear_probe"}], r"rows\.0\.reliability: this key is missing"),
    ],
)
def test_rows_are_ok_with_metrics_or_diverged_with_a_reason(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        results.write(tmp_path / "a.json", [record(rows=rows)])


def test_a_missing_part_is_refused(tmp_path):
    given = record()
    del given["environment"]
    with pytest.raises(ValueError, match="environment: this key is missing"):
        results.write(tmp_path / "a.json", [given])


def test_the_frame_is_tidy_and_names_missing_cells_and_orphans(tmp_path):
    asked = [cell("digits"), cell("faces"), cell("textures")]
    for of in (asked[0], asked[2], cell("birds")):
        results.write(results.path(of, tmp_path), [record(of, [row(0, mapping=[3, 1]), diverged(1)])])
    found = results.read(asked, tmp_path)
    first = [
        "scale",
        "stage",
        "backbone",
        "compression",
        "target",
        "source_seed",
        "method",
        "budget",
        "seed",
        "status",
        "reason",
    ]
    assert list(found.frame.columns) == [*first, "accuracy", "ece", "reliability", "mapping"]
    assert found.frame["mapping"][0] == [3, 1]
    assert list(found.frame["target"]) == ["digits", "digits", "textures", "textures"]
    assert list(found.frame["status"]) == ["ok", "diverged"] * 2
    assert found.frame["ece"].isna().tolist() == [False, True] * 2
    assert found.frame["reliability"][0] == BINS
    assert found.missing == [cell("faces")]
    assert [path.name for path in found.orphans] == ["transfer-cnn-int4-birds.json"]
    missing, orphan = found.notes()
    assert "transfer@cnn-int4-faces" in missing
    assert "transfer-cnn-int4-birds.json" in orphan


def test_without_any_file_the_frame_is_empty_but_has_its_columns(tmp_path):
    found = results.read([cell()], tmp_path)
    assert found.frame.empty
    assert {"target", "method", "status", "reliability"} <= set(found.frame.columns)
    assert found.missing == [cell()]


def test_other_stages_of_a_study_are_no_orphans(tmp_path):
    compress = Cell.of("compress", "hidden_cost", "smoke", backbone="cnn", compression="int4")
    results.write(results.path(compress, tmp_path), [record(compress)])
    assert results.read([cell()], tmp_path).orphans == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cell": {}}'])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, text):
    atomic.write_text(results.path(cell(), tmp_path), text)
    with pytest.raises(ValueError, match="transfer-cnn-int4-digits") as error:
        results.read([cell()], tmp_path)
    assert "delete it and run `dvc repro transfer@cnn-int4-digits`" in str(error.value)


def test_a_file_of_another_cell_is_refused(tmp_path):
    results.write(results.path(cell("digits"), tmp_path), [record(cell("faces"))])
    with pytest.raises(ValueError, match="its target is 'faces'"):
        results.read([cell("digits")], tmp_path)


def test_the_environment_holds_versions_and_settings_and_nothing_of_time_or_place():
    first = results.environment("cpu", "fp32", 2)
    assert first == results.environment("cpu", "fp32", 2)
    assert (first["device"], first["precision"], first["threads"]) == ("cpu", "fp32", 2)
    assert first["numpy"] == np.__version__


def test_an_interrupted_write_leaves_the_file_as_it_was_and_no_rest(tmp_path):
    atomic.write_text(tmp_path / "a.json", "old")

    def interrupted():
        with atomic.replacing(tmp_path / "a.json") as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_rest_of_a_killed_write_is_taken_up_by_the_next(tmp_path):
    (tmp_path / ".a.json.tmp").write_text("rest of a killed process, longer than the new text")
    atomic.write_text(tmp_path / "a.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "new"
