"""Numbers as one reads them: as many digits as mean something, and words for what is no number."""

import math

MINUS = "−"


def count(value: int) -> str:
    """12,345"""
    return f"{value:,}"


def percent(value: float | None) -> str:
    """One decimal: a kNN figure on 10,000 images has a standard error of half a point."""
    return _signed(value, f"{value:.1f}" if value is not None else "")


def plain(value: float | None) -> str:
    """Three significant digits; small and large ones with a power of ten."""
    if value is None or not math.isfinite(value):
        return _signed(value, "")
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        decimals = max(0, 2 - math.floor(math.log10(abs(value))))
        return _signed(value, f"{value:,.{decimals}f}")
    return _signed(value, f"{value:.2e}")


def of_quantity(quantity: str, value: float | None) -> str:
    """A measured value in the digits that its quantity deserves."""
    return percent(value) if "(%)" in quantity else plain(value)


def setting(value: object) -> str:
    """A value of a configuration."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if value == []:
        return "none"
    return "absent" if value is None else "empty" if value == "" else str(value)


def duration(seconds: float) -> str:
    """In the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def small(number: int, noun: str) -> str:
    """1 run, 2 runs; small numbers as words."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return f"{words[number] if number < len(words) else count(number)} {noun}{'' if number == 1 else 's'}"


def _signed(value: float | None, text: str) -> str:
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not finite"
    return text.replace("-", MINUS)


def size(count: int) -> str:
    """Bytes as people say them."""
    if count < 2**30:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**30:.1f} GiB"
