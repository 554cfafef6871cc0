"""Faults of a figure's texts, as matplotlib's renderer places them."""

from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 1.5  # pixels by which boxes may touch: they hold the blank above and below letters
DPI = 72


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Each text that is drawn, with its box in pixels."""
    found, draw = [], Text.draw

    def recorded(text, renderer):
        draw(text, renderer)
        if text.get_visible() and text.get_text().strip():
            found.append(text)

    with pytest.MonkeyPatch.context() as patch:
        figure.set_dpi(DPI)
        patch.setattr(Text, "draw", recorded)
        FigureCanvasAgg(figure).draw()
    return [(text.get_text(), text.get_window_extent()) for text in found]


def faults(figure: Figure) -> list[str]:
    """Texts that overlap another, leave the canvas or are too small to print."""
    texts, page = drawn_texts(figure), figure.bbox.padded(SLACK)
    outside = [f"outside: {text!r}" for text, box in texts if not all(page.contains(*p) for p in (box.min, box.max))]
    over = [
        f"{one!r} over {other!r}"
        for (one, a), (other, b) in combinations(texts, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK
    ]
    small = {text.get_text() for text in figure.findobj(Text) if text.get_text().strip() and text.get_fontsize() < 8}
    return outside + over + [f"small: {text!r}" for text in small]
