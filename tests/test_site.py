"""The site in a browser: pages load without errors, links lead somewhere, nothing is cut, search finds words."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from browser import set_width, wait

from vpstudy import paths

pytest.importorskip("furo", reason="the site's packages are missing: `make site` installs them")
pytestmark = pytest.mark.slow
WIDTHS = (1400, 390)  # px: a desktop and a telephone
CUT = """
const wide = window.innerWidth;
const boxed = node => {
    for (let box = node.parentElement; box; box = box.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX) && box.getBoundingClientRect().right <= wide)
            return true;
    return false;
};
return [...document.querySelectorAll('article img, article table, article math, article pre')]
    .filter(node => node.getBoundingClientRect().right > wide + 1 && !boxed(node))
    .map(node => node.tagName + ' ' + (node.alt || node.textContent).slice(0, 60));
"""
COLUMN = """
const table = [...document.querySelectorAll('table.dataTable')].at(-1);
const column = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent.startsWith('test accuracy'));
"""
CLICK = COLUMN + "table.tHead.rows[0].cells[column].click();"
NUMBERS = COLUMN + "return [...table.tBodies[0].rows].map(row => parseFloat(row.cells[column].textContent));"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(folder)]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """Links, ids and pictures of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.ids, self.pictures = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        self.links += [found[key] for key in ("href", "src") if found.get(key)]
        if tag == "img":
            self.pictures.append(found.get("alt"))


def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}


def test_no_link_is_dead_and_figures_have_words(site):
    every = pages(site)
    assert len(every) > 100
    dead, silent = [], []
    for file, page in every.items():
        for link in page.links:
            place, anchor = urldefrag(unquote(link))
            if ":" in place or place.startswith("//"):
                continue
            target = (file.parent / place.partition("?")[0]).resolve() if place else file
            if not target.is_file() or (anchor and target in every and anchor not in every[target].ids):
                dead.append(f"{file.relative_to(site)}: {link}")
        silent += [file.name for words in page.pictures if not words]
    assert dead == [] and silent == []
    assert sum(len(page.pictures) for page in every.values()) > 20


def test_no_page_takes_anything_from_the_network(site):
    for file, page in pages(site).items():
        text = file.read_text(encoding="utf-8")
        assert not [link for link in page.links if link.endswith((".js", ".css")) and ":" in link], file
        assert "@import url(http" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_load_without_errors_and_nothing_is_cut(site, browser, width):
    set_width(browser, width)
    faults = {}
    for file in sorted(site.rglob("*.html")):
        if width != WIDTHS[0] and file.parent.parent.name == "python" and not file.name.startswith("vpstudy.calib"):
            continue  # pages of modules are all alike
        browser.get(file.as_uri())
        found = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        found += browser.execute_script(CUT)
        over = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        found += [f"{over} px wider than the window"] if over > 0 else []
        if found:
            faults[str(file.relative_to(site))] = found
    assert faults == {}


def test_a_table_that_is_cut_would_be_seen(browser, tmp_path):
    page = tmp_path / "cut.html"
    page.write_text('<meta name="viewport" content="width=device-width"><article><table><td>' + "wide" * 900)
    set_width(browser, WIDTHS[0])
    browser.get(page.as_uri())
    assert browser.execute_script(CUT)


def test_search_finds_calibration(site, browser):
    browser.get(site.joinpath("search.html").as_uri() + "?q=calibration")
    # Results appear one after another.
    assert wait(browser, lambda page: page.find_elements("css selector", "#search-results li a[href*=methods]"))


def test_a_click_sorts_a_table_of_results_by_numbers(site, browser):
    set_width(browser, WIDTHS[0])
    browser.get(site.joinpath("results/default/90_hidden_cost.html").as_uri())
    wait(browser, lambda page: page.find_elements("css selector", "table.dataTable"))
    assert len(browser.find_elements("css selector", "table.dataTable")) > 1
    kept = browser.execute_script(NUMBERS)
    assert kept != sorted(kept)
    browser.execute_script(CLICK)
    wait(browser, lambda page: page.execute_script(NUMBERS) == sorted(kept))
