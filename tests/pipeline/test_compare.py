"""A re-run against committed results, in throw-away repositories."""

import copy
import json
import re
import subprocess

import pytest
from scipy.stats import t as student

from pipeline import compare
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
        "rows": list(rows),
    }


TRANSFER = record(*(row("linear_probe", "10", seed, 0.80 + 0.02 * seed) for seed in range(3)), steps=100)
SOURCE = record(row("upstream", None, 0, 0.97, 0.02))


def shifted(content, by, metric="accuracy"):
    content = copy.deepcopy(content)
    for each in content["rows"]:
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


def test_identical_results_are_told_first_and_leave_nothing_to_say(project):
    found = compare.report()
    assert found.agrees
    assert found.lines[2].strip() == "2 of 2 result files are byte-identical"
    assert len(found.lines) == 3
    assert compare.unsaved() == []


def test_within_the_interval_agrees_and_beyond_does_not(project):
    # Both sides have standard deviation 0.02: half of Welch's interval is t(0.975, 4) * 0.02 * sqrt(2 / 3).
    half = student.ppf(0.975, 4) * 0.02 * (2 / 3) ** 0.5
    put(PLACE, shifted(TRANSFER, 0.99 * half))
    assert compare.report().agrees
    put(PLACE, shifted(TRANSFER, -1.01 * half))
    found = compare.report()
    assert not found.agrees
    assert found.lines[2].strip() == "1 of 2 result files are byte-identical"
    (line,) = [line for line in found.lines if "int4-digits" in line]
    place, _, numbers = line.strip().partition(": ")
    assert place == "transfer-cnn-int4-digits linear_probe 10 accuracy"
    values = [float(number) for number in re.findall(r"[-+]?\d\.\d+", numbers)]
    mean = 0.82 - 1.01 * half
    assert values == pytest.approx([0.82, mean, mean - 0.82, mean - 0.82 - half, mean - 0.82 + half], abs=6e-4)


def test_negligible_differences_agree_without_spread_and_others_do_not(project):
    flat = record(*(row("linear_probe", "10", seed, 0.9) for seed in range(3)))
    put(PLACE, flat)
    commit()
    put(PLACE, shifted(flat, 0.009))
    assert compare.report().agrees
    put(PLACE, shifted(flat, 0.011))
    assert not compare.report().agrees


def test_one_seed_uses_the_stated_tolerance(project):
    put(OTHER, shifted(SOURCE, -0.049))
    assert compare.report().agrees
    put(OTHER, shifted(SOURCE, 0.051, "ece_debiased"))
    found = compare.report()
    assert not found.agrees
    assert "one seed" in text(found)
    assert f"{compare.ONE_SEED} at most" in text(found)


def test_latencies_are_not_compared(project):
    def timed(latency):
        return SOURCE | {"facts": {"integer": {"latency_ms": {"dense": latency}}}}

    put(OTHER, timed(20.0))
    commit()
    put(OTHER, timed(90.0))
    assert compare.report().agrees


def test_the_worst_comes_first_and_a_long_list_is_cut(project):
    cells = {f"data/results/default/hidden_cost/transfer-{n:02}.json": n for n in range(30)}
    for name in cells:
        put(name, TRANSFER)
    commit()
    for name, n in cells.items():
        put(name, shifted(TRANSFER, -0.1 - 0.01 * n))
    lines = compare.report().lines
    listed = [line.split()[0] for line in lines if line.startswith("  transfer-")]
    assert listed == [f"transfer-{n:02}" for n in range(29, 29 - compare.SHOWN, -1)]
    assert f"  … and {30 - compare.SHOWN} more" in lines


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
    assert "1 committed, but missing here: source-cnn" in text(found)
    assert "1 only here, with nothing to compare to: transfer-cnn-int2-digits" in text(found)


def test_a_run_that_diverges_only_here_does_not_agree(project):
    changed = copy.deepcopy(TRANSFER)
    changed["rows"][0] = row("linear_probe", "10", 0, None, status="diverged")
    put(PLACE, changed)
    found = compare.report()
    assert not found.agrees
    assert "transfer-cnn-int4-digits linear_probe 10: 3 seeds have a result as committed, 2 here" in text(found)


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
    assert f"  changed  {PLACE}" in compare.unsaved()


def test_nothing_to_compare_with_says_so(project, monkeypatch, tmp_path_factory):
    with pytest.raises(ValueError, match="nonsense is no commit"):
        compare.report("nonsense")
    (project / "params.yaml").write_text("scale: smoke\n")
    with pytest.raises(ValueError, match="no results of scale smoke"):
        compare.report()
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setattr(paths, "ROOT", empty)
    with pytest.raises(ValueError, match="no git repository"):
        compare.report()
    git("init", "-q")
    with pytest.raises(ValueError, match="nothing is committed yet"):
        compare.report()


def test_what_is_left_in_the_tree_is_named_and_the_commands_work(project):
    put("dvc.lock", "one")
    put("figures/default/accuracy.svg", "one")
    put("README.md", "one")
    commit()
    put("dvc.lock", "two")
    put("figures/default/accuracy.svg", "two")
    put("README.md", "two")
    put(PLACE.replace("int4", "new cell"), TRANSFER)
    put("figures/default/staged.svg", "one")
    git("add", "dvc.lock", "figures")
    (project / OTHER).unlink()
    told = compare.unsaved()
    assert told[1] == "Files of the pipeline that are not committed as they are now (5):"
    names = [line.strip().split(maxsplit=1) for line in told if line.startswith("  ")]
    assert names == [
        ["changed", OTHER],
        ["changed", "dvc.lock"],
        ["changed", "figures/default/accuracy.svg"],
        ["new", "figures/default/staged.svg"],
        ["new", PLACE.replace("int4", "new cell")],
    ]
    back = told[-1].removeprefix("To go back:").strip()
    subprocess.run(back, shell=True, cwd=project, check=True, capture_output=True)
    assert compare.unsaved() == []
    assert git("status", "--porcelain").split() == ["M", "README.md"]


def test_the_command_that_keeps_them_works(project):
    git("config", "user.name", "reader")
    git("config", "user.email", "reader@example.org")
    put(PLACE, shifted(TRANSFER, 0.01))
    put("figures/default/new.svg", "one")
    keep = compare.unsaved()[-2].removeprefix("To keep them:").strip()
    subprocess.run(keep, shell=True, cwd=project, check=True, capture_output=True)
    assert compare.unsaved() == []
