"""Numbers as people read them. Not measured (None) is a dash, never a zero."""

from __future__ import annotations

import math

MISSING = "–"
NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def score(value: float | None) -> str:
    """A ranking metric, four decimals: 0.0634."""
    return MISSING if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A difference of metrics with its sign: +0.0071, −0.0090, 0.0000."""
    if value is None:
        return MISSING
    text = f"{abs(value):.4f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def count(value: float | None) -> str:
    """A whole number: 24,000."""
    return MISSING if value is None else f"{value:,.0f}"


def noun(number: int, singular: str, plural: str | None = None) -> str:
    """A counted noun: 1 store, 8 stores."""
    return f"{count(number)} {singular if number == 1 else plural or singular + 's'}"


def percent(fraction: float | None) -> str:
    """A size without its sign: 13 %, 8.4 %, less than 0.1 %."""
    if fraction is None:
        return MISSING
    size = abs(fraction) * 100
    if 0 < size < 0.05:
        return f"less than 0.1{NBSP}%"
    text = f"{size:.1f}"
    if float(text) >= 10 or float(text) == 0:
        text = f"{size:,.0f}"
    return f"{text}{NBSP}%"


def plain(value: float | None) -> str:
    """Up to four significant digits, no trailing zeros: 4, 2.41, 1e-06 (with a power of ten: 10⁻⁶)."""
    if value is None:
        return MISSING
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.3e}".split("e")
        power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
        mantissa = mantissa.rstrip("0").rstrip(".")
        return power if mantissa == "1" else f"{mantissa}{NBSP}×{NBSP}{power}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def bytes_(value: float | None) -> str:
    """Decimal units, three digits: 128 B, 1.55 MB."""
    if value is None:
        return MISSING
    if value < 1000:
        return f"{value:.0f}{NBSP}B"
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{_three(value)}{NBSP}{unit}"


def seconds(value: float | None) -> str:
    """0.35 s, 48.2 s, 2 min 28 s, 3 h 05 min."""
    if value is None:
        return MISSING
    if value < 59.95:
        return f"{_three(value)}{NBSP}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min {rest:02d}{NBSP}s"
    return f"{minutes // 60}{NBSP}h {minutes % 60:02d}{NBSP}min"


def price(value: float | None, currency: str) -> str:
    """A price as on a shelf: £7.90; nothing when there is none."""
    return "" if value is None else f"{currency}{value:,.2f}"


def _three(value: float) -> str:
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{value:.{min(decimals, 3)}f}"
