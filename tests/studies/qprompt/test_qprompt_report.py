"""The reports of the qprompt study: cells on tiny CLIPs in, tables and figures out; scales without some of them."""

import pytest

from studies import grid, results
from studies.claims.verdict import NOT_RUN
from studies.qprompt.controls_report import ControlsReport
from studies.qprompt.labels import words
from studies.qprompt.multimodal_cell import MultimodalCell
from studies.qprompt.multimodal_report import MultimodalReport
from studies.qprompt.prompt_cell import PromptCell
from studies.qprompt.protocol_cell import ProtocolCell
from studies.qprompt.protocols_report import ProtocolsReport
from studies.qprompt.report import QpromptReport

CELLS = {"prompt": PromptCell, "protocol": ProtocolCell, "multimodal": MultimodalCell}


@pytest.fixture(scope="module")
def done(small):
    """Parameters of which every cell has a result: two of text prompts, both protocols, and one of both towers."""
    p = small(
        qprompt={"axes": {"prompters": ["coop", "qcoop"]}, "settings": {"seeds": [0, 1]}},
        protocols={"settings": {"seeds": [0, 1]}},
        multimodal={"settings": {"bits": [4]}},
    )
    for stage, kind in CELLS.items():
        for cell in grid.cells(p, stage):
            this = kind(p, *dict(cell.axes).values())
            results.write(results.path(cell), this.result(this.run()))
    yield p
    for stage in CELLS:
        for cell in grid.cells(p, stage):
            results.path(cell).unlink()


@pytest.fixture
def drawn(monkeypatch):
    figures = {}
    for kind in (QpromptReport, ControlsReport, ProtocolsReport, MultimodalReport):
        monkeypatch.setattr(kind, "show", lambda self, name, figure: figures.update({name: figure}))
    return figures


def test_every_prompter_is_shown(done, drawn):
    report = QpromptReport(done, save=False)
    for step in (report.coverage, report.everything, report.size, report.codebooks, report.curves, report.weights):
        step()
    assert {"prompters_accuracy", "size", "curves", "weights"} <= set(drawn)
    labels = [label.get_text() for label in drawn["prompters_accuracy"].axes[0].get_yticklabels()]
    assert labels == ["CoOp", "CoOp, then 1 bit", "QCoOp, 1 bit"]
    assert list(report.sizes()["arm"]) == labels
    assert list(report.refits()["arm"]) == ["QCoOp, 1 bit"]
    published = report.published().set_index("method")
    mean = report.runs.query("prompter == 'coop' and arm == 'full' and group == 'new'")["accuracy"].mean()
    assert published.loc["CoOp", "here, new"] == f"{100 * mean:.2f}"
    assert len(report.results()) == 3 * 3


def test_controls_are_compared_in_pairs(done, drawn):
    report = ControlsReport(done, save=False)
    report.controls()
    report.distances()
    assert set(drawn) == {"controls", "distances"}
    why = report.why().set_index("QCoOp less")
    assert why.loc["KgCoOp", "new: so"] == NOT_RUN != why.loc["CoOp", "new: so"]
    assert "Few bits instead of full weights (cnn): accuracy on new " in report.conclusion().data


@pytest.mark.parametrize(
    ("protocol", "columns"), [("few_shot", ["1", "2"]), ("transfer", ["as learned", "inverted", "letters"])]
)
def test_protocols_have_a_line_for_each_arm_and_for_quantized_ones_less_coop(done, drawn, protocol, columns):
    report = ProtocolsReport(done, save=False)
    report.figure(protocol)
    assert list(drawn) == [f"protocol_{protocol}"]
    table = report.accuracies(protocol)
    assert list(table["arm"]) == ["zero-shot", "CoOp", "QCoOp, 1 bit", "QCoOp, 1 bit − CoOp"]
    assert list(table.columns[1:]) == columns
    accuracy = report.runs[report.runs["protocol"] == protocol].query("arm == 'full'")["accuracy"]
    assert table.set_index("arm").loc["CoOp", columns[0]].startswith(f"{accuracy.iloc[:: len(columns)].mean():.3f} ± ")


def test_prompts_for_both_towers_stand_beside_the_paper_s(done, drawn):
    report = MultimodalReport(done, save=False)
    table = report.accuracies().set_index("arm")
    named = [words(arm) for arm in (("maple", "full"), ("maple", "ptq-4"), ("qmaple", "qat-4"), ("zero_shot", "one"))]
    assert list(table.index) == named
    assert list(table.loc["QMaPLe, 4 bits", ["paper, base", "paper, new", "paper, H"]]) == ["83.02", "75.57", "79.12"]
    assert table.loc["MaPLe", "paper, bytes"] == "7,096,320"
    assert table.loc["MaPLe, then 4 bits", "paper, H"] == "—"
    report.dots()
    assert [axis.get_title() for axis in drawn["multimodal"].axes] == ["base", "new", "H"]
    assert [label.get_text() for label in drawn["multimodal"].axes[0].get_yticklabels()] == named


def test_a_scale_without_the_cells_says_so(small, capsys):
    p = small(protocols={"axes": {"names": []}}, multimodal={"axes": {"backbones": []}})
    protocols, multimodal = ProtocolsReport(p, save=False), MultimodalReport(p, save=False)
    assert protocols.accuracies("few_shot") == multimodal.accuracies() == NOT_RUN
    protocols.figure("few_shot")
    multimodal.dots()
    assert capsys.readouterr().out.split("\n")[:2] == [NOT_RUN, NOT_RUN]
    assert protocols.runs.empty
