"""One colour per run, bright enough on dark paper and dark enough on light: made in Oklch, where lightness is even.

Oklab: B. Ottosson 2020. Contrast: WCAG 2.2, relative luminance.
"""

import math
from dataclasses import dataclass

PAPER = {"light": "#fbfaf8", "dark": "#17181b"}
"""The page's background; must be those of report.css."""

HUES = (255.0, 45.0, 155.0, 325.0, 90.0, 205.0, 15.0, 290.0)
"""Degrees, neighbours in the order as far apart as may be; from the ninth run on in between, a little lighter."""


@dataclass(frozen=True)
class Ink:
    """A colour for light and one for dark paper, as #rrggbb."""

    light: str
    dark: str


def ink(number: int) -> Ink:
    """The colour of run `number`, counted from 0. They repeat after four times as many as there are hues."""
    turn, place = divmod(number, len(HUES))
    hue = HUES[place] + 22.5 * (turn % 2)
    lift = 0.05 * (turn % 4)
    return Ink(oklch(0.50 + lift / 2, 0.135, hue), oklch(0.74 + lift, 0.125, hue))


def wheel(number: int, of: int) -> Ink:
    """The colour of class `number` of `of`: even steps around the circle, two lightnesses in turn."""
    hue, lift = 25 + 360 * number / of, 0.1 * (number % 2)
    return Ink(oklch(0.47 + lift, 0.16, hue), oklch(0.66 + 1.4 * lift, 0.15, hue))


def oklch(lightness: float, chroma: float, hue: float) -> str:
    """The colour as #rrggbb; what lies outside sRGB is cut off channel by channel."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _encoded(channel)):02x}" for channel in linear)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _encoded(channel: float) -> float:
    channel = min(max(channel, 0.0), 1.0)
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055


def _luminance(colour: str) -> float:
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
