"""A re-run against committed results, in throw-away repositories."""

import copy
import json
import subprocess

import pytest

from pipeline import compare
from studies.claims import ledger
from studies.claims.conclusions import stability
from vpstudy import paths

PLACE = "data/results/default/hidden_cost/transfer-cnn-int4-digits.json"
OTHER = "data/results/default/backbones/source-cnn.json"


def row(method, budget, seed, accuracy, ece=0.1, status="ok"):
    metrics = {"accuracy": accuracy, "ece_debiased": ece, "nll": 1.0} if status == "ok" else None
    return {
        "method": method,
        "budget": budget,
        "seed": seed,
        "status": status,
        "reason": None,
        "metrics": metrics,
    }


def record(*rows, torch="2.14", **settings):
    return {
        "cell": {"stage": "transfer", "settings": settings},
        "environment": {"torch": torch},
        "checkpoints": [{"rows": list(rows)}],
    }


TRANSFER = record(*(row("linear_probe", "10", seed, 0.80 + 0.02 * seed) for seed in range(3)), steps=100)
SOURCE = record(row("upstream", None, 0, 0.97, 0.02))


def shifted(content, by, metric="accuracy"):
    content = copy.deepcopy(content)
    for each in content["checkpoints"][0]["rows"]:
        each["metrics"][metric] += by
    return content


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository in which both records are committed."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "data" / "results")
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("scale: default\n")
    put(PLACE, TRANSFER)
    put(OTHER, SOURCE)
    git("init", "-q")
    commit()
    return tmp_path


def git(*words):
    identity = ("-c", "user.name=reader", "-c", "user.email=reader@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *words], cwd=paths.ROOT, check=True, capture_output=True, text=True).stdout


def commit():
    git("add", "-A")
    git("commit", "-q", "-m", "results")


def put(name, content):
    place = paths.ROOT / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(content))


def text(found):
    return "\n".join(found.lines)


def test_identical_results_leave_nothing_to_say(project):
    found = compare.report()
    assert found.agrees
    assert found.lines == ["no verdicts to compare", "2 of 2 result files are the same bytes as in HEAD"]
    assert compare.unsaved() == []


def claim(name, verdict, study="hidden_cost"):
    return {"id": name, "verdict": verdict, "study": study}


def test_verdicts_come_first_and_those_that_differ_are_named(project):
    claims = PLACE.replace("hidden_cost/transfer-cnn-int4-digits", "claims")
    put(claims, [claim("H1", "inconclusive"), claim("H3", "contradicted")])
    commit()
    put(claims, [claim("H1", "inconclusive"), claim("H3", "reproduced")])
    assert compare.report().lines[0] == "1 of 2 verdicts agree; H3: reproduced here, contradicted committed"


def test_a_second_run_is_kept_for_the_notebook_of_claims(project, monkeypatch):
    monkeypatch.setattr(paths, "AGAIN", project / "again")
    claims = PLACE.replace("hidden_cost/transfer-cnn-int4-digits", "claims")
    put(claims, [claim("H1", "inconclusive"), claim("H3", "contradicted")])
    commit()
    with pytest.raises(ValueError, match="other results than the committed ones"):
        compare.save(compare.report(), "twice")
    ran = [claim("H1", "inconclusive"), claim("H3", "reproduced")]
    put(claims, [*ran, claim("H6", "not run at this scale"), claim("V1", "inconclusive", "vpns")])
    put("again/default.json", {"vpns": {"how": "before"}, "hidden_cost": {"how": "before"}})
    put(PLACE, shifted(TRANSFER, 1.1 * compare.TOLERANCE))
    compare.save(compare.report(), "on another processor")
    kept = ledger.again("default")["hidden_cost"]
    assert ledger.again("default")["vpns"] == {"how": "before"}  # not run again this time
    assert kept["verdicts"] == {"H1": "inconclusive", "H3": "reproduced"} and kept["changed"] == 1
    entries = [claim("H1", "inconclusive"), claim("H3", "contradicted"), claim("V1", "inconclusive", "vpns")]
    said = stability(entries, "hidden_cost", kept)
    assert said.startswith("hidden_cost, run again on another processor: 1 of 1 result files were made anew")
    assert said.endswith("1 of 2 verdicts are the same: not H3 from contradicted to reproduced.")
    assert ledger.again("smoke") == {}


@pytest.mark.parametrize(("name", "content"), [(PLACE, TRANSFER), (OTHER, SOURCE)])
@pytest.mark.parametrize("metric", ["accuracy", "ece_debiased"])
def test_means_within_the_tolerance_agree_and_beyond_do_not(name, content, metric, project):
    put(name, shifted(content, 0.9 * compare.TOLERANCE, metric))
    found = compare.report()
    assert found.agrees and "2 of 2 means in the others agree within 0.02" in found.lines
    put(name, shifted(content, -1.1 * compare.TOLERANCE, metric))
    found = compare.report()
    assert not found.agrees
    assert "1 of 2 means in the others agree within 0.02" in found.lines


def test_a_mean_over_seeds_is_compared_whatever_each_seed_does(project):
    turned = copy.deepcopy(TRANSFER)
    for old, new in zip(TRANSFER["checkpoints"][0]["rows"], reversed(turned["checkpoints"][0]["rows"]), strict=True):
        new["metrics"] = old["metrics"]
    put(PLACE, turned)
    assert compare.report().agrees


def test_latencies_are_not_compared(project):
    def timed(latency):
        return SOURCE | {"facts": {"integer": {"latency_ms": {"dense": latency}}}}

    put(OTHER, timed(20.0))
    commit()
    put(OTHER, timed(90.0))
    assert compare.report().agrees


def test_only_the_means_farthest_apart_are_listed(project):
    cells = {f"data/results/default/hidden_cost/transfer-{n:02}.json": n for n in range(30)}
    for name in cells:
        put(name, TRANSFER)
    commit()
    for name, n in cells.items():
        put(name, shifted(TRANSFER, -0.1 - 0.01 * n))
    lines = compare.report().lines
    listed = [line.split()[0] for line in lines if line.startswith("  transfer-")]
    assert listed == [f"transfer-{n:02}" for n in range(29, 29 - compare.SHOWN, -1)]
    assert "  transfer-29 linear_probe 10 accuracy: 0.820 → 0.430" in lines


def test_other_versions_are_named(project):
    put(OTHER, SOURCE | {"environment": {"torch": "2.15"}})
    found = compare.report()
    assert found.agrees
    assert "torch: 2.14 as committed, 2.15 here" in text(found)


def test_other_settings_are_no_re_run(project):
    put(PLACE, shifted(TRANSFER, 0.0) | {"cell": {"stage": "transfer", "settings": {"steps": 50}}})
    found = compare.report()
    assert not found.agrees
    assert "1 ran with other settings (steps): transfer-cnn-int4-digits" in text(found)


def test_missing_and_new_files_are_named(project):
    put(PLACE.replace("int4", "int2"), TRANSFER)
    assert compare.report().agrees
    (project / OTHER).unlink()
    found = compare.report()
    assert not found.agrees
    assert "1 missing here: source-cnn" in text(found)
    assert "1 only here: transfer-cnn-int2-digits" in text(found)


def test_a_run_that_diverges_only_here_does_not_agree(project):
    changed = copy.deepcopy(TRANSFER)
    changed["checkpoints"][0]["rows"][0] = row("linear_probe", "10", 0, None, status="diverged")
    put(PLACE, changed)
    found = compare.report()
    assert not found.agrees
    assert "transfer-cnn-int4-digits linear_probe 10, runs with a result: 3.000 → 2.000" in text(found)


def test_runs_that_diverge_in_both_agree(project):
    diverged = record(*(row("linear_probe", "10", seed, None, status="diverged") for seed in range(3)))
    put(PLACE, diverged)
    commit()
    put(PLACE, diverged | {"environment": {"torch": "2.15"}})
    assert compare.report().agrees


def test_an_older_commit_can_be_asked_for(project):
    put(PLACE, shifted(TRANSFER, 0.3))
    commit()
    assert compare.report().agrees
    assert not compare.report("HEAD~1").agrees


def test_a_project_inside_a_larger_repository(project, monkeypatch):
    inner = project / "inner"
    monkeypatch.setattr(paths, "ROOT", inner)
    monkeypatch.setattr(paths, "RESULTS", inner / "data" / "results")
    put(PLACE, TRANSFER)
    commit()
    assert compare.report().agrees
    put(PLACE, shifted(TRANSFER, 0.3))
    assert not compare.report().agrees
    assert "1 files of the pipeline differ" in compare.unsaved()[0]


def test_nothing_to_compare_with_says_so(project, monkeypatch, tmp_path_factory):
    with pytest.raises(ValueError, match="nonsense"):
        compare.report("nonsense")
    (project / "params.yaml").write_text("scale: smoke\n")
    with pytest.raises(ValueError, match="no results of scale smoke"):
        compare.report()
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setattr(paths, "ROOT", empty)
    with pytest.raises(ValueError, match="not a git repository"):
        compare.report()
    git("init", "-q")
    with pytest.raises(ValueError, match="HEAD"):
        compare.report()


def test_what_is_left_in_the_tree_is_counted_and_the_advice_works(project):
    git("config", "user.name", "reader")
    git("config", "user.email", "reader@example.org")
    for name in ("dvc.lock", "README.md"):
        put(name, "one")
    commit()
    for name in ("dvc.lock", "README.md", "figures/default/new.svg", PLACE.replace("int4", "new cell")):
        put(name, "two")
    (project / OTHER).unlink()
    (told,) = compare.unsaved()
    assert told.startswith("4 files of the pipeline differ from the committed ones")
    subprocess.run(told.split("`")[3], shell=True, cwd=project, check=True, capture_output=True)
    assert compare.unsaved() == []
