"""The playground in JupyterLab and a browser: a reader moves the sparsity, presses Run, and sees the new numbers."""

import os
import socket
import subprocess
import sys
import urllib.request

import nbformat
import pytest
from browser import set_width, wait

from vpstudy import paths

pytestmark = pytest.mark.slow
# Models go elsewhere, and the network is hardly trained.
BEFORE = """from pathlib import Path
from studies.playground import learning
from vpstudy import paths
paths.MODELS, learning.STEPS = Path({models!r}), 4"""
AFTER = "playground.steps.value = 10"
LEFT = "\ue012"  # the arrow key, as browsers are told it: a step of the slider


@pytest.fixture
def address(tmp_path):
    """Of a JupyterLab with the notebook."""
    notebook = nbformat.read(paths.NOTEBOOKS / "playground.ipynb", as_version=4)
    before, after = map(nbformat.v4.new_code_cell, [BEFORE.format(models=str(tmp_path / "models")), AFTER])
    notebook.cells = [before, *notebook.cells, after]
    nbformat.write(notebook, tmp_path / "playground.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--port={port}", "--ip=127.0.0.1", "--no-browser", "--allow-root", f"--notebook-dir={tmp_path}"]
    options += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    path = os.pathsep.join(filter(None, [str(paths.ROOT), os.environ.get("PYTHONPATH")]))
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env=os.environ | own | {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/api/status").status == 200
    except OSError:
        return False


def test_moving_the_sparsity_shows_new_numbers(browser, address):
    set_width(browser, 1400)  # in a small window, messages of JupyterLab would cover the panel
    wait(browser, lambda _: answers(address))
    browser.get(f"{address}/lab/tree/playground.ipynb")
    ready = "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    wait(browser, lambda page: page.execute_script(ready))
    browser.execute_script("jupyterapp.commands.execute('notebook:run-all-cells')")
    of_sparsity = "//label[text()='sparsity']/..//*[contains(@class, 'noUi-handle')]"
    (handle,) = wait(browser, lambda page: page.find_elements("xpath", of_sparsity))

    run("magnitude-0.80", browser)
    assert "80.0%" in facts(browser) and "70.0%" not in facts(browser)
    handle.send_keys(LEFT, LEFT)
    run("magnitude-0.70", browser)
    assert "70.0%" in facts(browser) and "80.0%" not in facts(browser)


def run(compression: str, browser) -> None:
    browser.find_element("xpath", "//button[contains(@class, 'jupyter-button')][contains(., 'Run')]").click()
    done = f"//*[text()='done: {compression} beside dense, on digits']"
    wait(browser, lambda page: page.find_elements("xpath", done))


def facts(browser) -> str:
    return " ".join(each.text for each in browser.find_elements("css selector", ".widget-html table"))
