"""Every figure of the final notebooks, from the committed results: no text overlaps another or leaves the canvas."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
from assets import needed_by
from texts import faults

from pipeline import scales
from studies.across.report import AcrossReport
from studies.claims.report import ClaimsReport
from studies.figures import style
from studies.hidden_cost.report import HiddenCostReport
from studies.qprompt.report import QpromptReport
from studies.vpns.report import VpnsReport
from vpstudy import paths

REPORTS = {each.study: each for each in (HiddenCostReport, VpnsReport, QpromptReport, AcrossReport, ClaimsReport)}
LISTED = ["git", "ls-files", "data/results/*/claims.json"]
SCALES = sorted(Path(name).parent.name for name in subprocess.check_output(LISTED, cwd=paths.ROOT, text=True).split())


@cache
def report(scale: str, study: str):
    return REPORTS[study](scales.parameters(scale), save=False)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("study", "name"), [(study, name) for study, of in REPORTS.items() for name in of.figures])
def test_no_text_overlaps_another_or_leaves_the_canvas(scale, study, name):
    needed_by(scale)
    found = report(scale, study).drawn(name)
    if found is None:
        pytest.skip(f"{study} is not run at scale {scale}")
    for drawn in found.values():
        if drawn:
            assert faults(drawn.figure) == []
            assert drawn.sentence.endswith(".")
            assert drawn.figure.get_figwidth() == pytest.approx(18 / 2.54)


def test_texts_that_collide_or_leave_are_found():
    figure, ((axis,),) = style.new_figure(1, 1, 2)
    axis.set_axis_off()
    axis.text(0.5, 0.5, "one")
    axis.text(0.52, 0.5, "other")
    axis.text(2, 0.5, "gone").set_in_layout(False)
    axis.text(0.5, 0.1, "tiny", size=6)
    assert faults(figure) == ["outside: 'gone'", "'one' over 'other'", "small: 'tiny'"]
