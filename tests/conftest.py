"""Settings for every test."""

import os
import shutil
import sys

import pytest

# Before torch is imported, as in the kernels: without it, tests beside other work wait for threads that spin.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")


def pytest_collection_modifyitems(config, items):
    """Side by side, slow tests start first: all others run beside them."""
    if hasattr(config, "workerinput"):  # of pytest-xdist
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small only wait for a second thread, and the number of threads changes rounding."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of what fixtures of the module draw
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def seeded():
    """Networks of other libraries draw their weights without a seed: each test gets the same ones in every run."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; what needs it is skipped where it or selenium is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="`make site` installs selenium")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no browser: install chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for each in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()
