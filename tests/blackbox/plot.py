"""Series over days, one panel below the other, as SVG without a background, readable on white and on black."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP = 760, 64, 16, 12
PANEL_HEIGHT, PLOT_HEIGHT, TITLE_HEIGHT = 132, 92, 20
AXIS_HEIGHT = 44
GREY = "#808080"
COLOURS = ("#3b82d6", "#d9722e", "#2f9e69", "#a45fc4")
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Panel:
    """What is measured in one unit: the values of each series, by its name."""

    title: str
    unit: str
    series: dict[str, list[float]]


def draw(days, panels, x_title):
    """The picture: values over `days`, ascending; what lies before day 0 is shaded."""
    height = TOP + len(panels) * PANEL_HEIGHT + AXIS_HEIGHT
    box = f'viewBox="0 0 {WIDTH} {height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">']
    across = _Scale(math.floor(days[0]), math.ceil(days[-1]), LEFT, WIDTH - RIGHT)
    for number, panel in enumerate(panels):
        lines += _panel(panel, days, across, TOP + number * PANEL_HEIGHT)
    lines += _days(across, TOP + len(panels) * PANEL_HEIGHT, x_title)
    return "\n".join([*lines, "</svg>"]) + "\n"


class _Scale:
    """Values to places in the picture."""

    def __init__(self, low, high, begin, end):
        self.low, self.high = low, high
        self._begin, self._end = begin, end

    def __call__(self, value):
        return self._begin + (value - self.low) / (self.high - self.low) * (self._end - self._begin)


def _panel(panel, days, across, top):
    bottom = top + TITLE_HEIGHT + PLOT_HEIGHT
    ticks = _ticks(max(max(values) for values in panel.series.values()))
    up = _Scale(0, ticks[-1], bottom, bottom - PLOT_HEIGHT)
    if days[0] < 0:
        yield _box(across(across.low), up(ticks[-1]), across(0), bottom)
    yield _title(panel, top + TITLE_HEIGHT - 7)
    for tick in ticks:
        yield _line(LEFT, up(tick), WIDTH - RIGHT, up(tick))
        yield _text(LEFT - 6, up(tick) + 4, f"{tick:,g}", "end")
    for colour, values in zip(COLOURS, panel.series.values(), strict=False):
        points = " ".join(f"{across(day):.1f},{up(value):.1f}" for day, value in zip(days, values, strict=True))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4" stroke-linejoin="round"/>'


def _title(panel, y):
    """The panel's name and unit, then its series, each in its colour."""
    spans = [f"{escape(panel.title)}, {escape(panel.unit)}" if panel.unit else escape(panel.title)]
    for colour, name in zip(COLOURS, panel.series, strict=False):
        spans.append(f'<tspan dx="14" fill="{colour}">{escape(name)}</tspan>')
    return f'<text x="{LEFT}" y="{y}" fill="{GREY}">{"".join(spans)}</text>'


def _days(across, top, x_title):
    step = max(1, _step((across.high - across.low) / 12))
    for tick in range(math.ceil(across.low / step), math.floor(across.high / step) + 1):
        yield _text(across(tick * step), top + 2, f"{tick * step:g}", "middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, top + 24, x_title, "middle")


def _ticks(high):
    step = _step(high / 4)
    return [step * number for number in range(math.ceil(high / step) + 1)]


def _step(least):
    """A round number that is no less."""
    power = 10 ** math.floor(math.log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))


def _text(x, y, text, anchor):
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{GREY}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1, y1, x2, y2):
    place = f'x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{GREY}" stroke-width="0.5" stroke-opacity="0.5"/>'


def _box(x1, y1, x2, y2):
    place = f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"'
    return f'<rect {place} fill="{GREY}" fill-opacity="0.12"/>'
