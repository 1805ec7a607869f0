"""Property tests: no deadline a case (a shared machine stalls), and the same cases every time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fedcart", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("fedcart")
