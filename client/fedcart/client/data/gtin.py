"""GTINs (EAN, UPC): 8, 12, 13 or 14 digits with a check digit, all written as 14 (GS1 General Specifications, 7.9)."""

from __future__ import annotations

LENGTHS = (8, 12, 13, 14)


def gtin14(text: str) -> str | None:
    """The number with 14 digits; None where it is none: another length, another character, a wrong check digit."""
    digits = text.replace(" ", "").replace("-", "")
    if len(digits) not in LENGTHS or not (digits.isascii() and digits.isdigit()):
        return None
    full = digits.zfill(14)
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(full))
    return full if total % 10 == 0 and total else None
