"""The learner `spectral`, one idea a module: contribution, posterior, sketch, shrink, table, local solve."""

from __future__ import annotations

from fedcart.shared.learners.spectral.learner import Spectral

__all__ = ["Spectral"]
