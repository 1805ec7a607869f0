"""The stores' seeded draws, under the name the simulation knows them by."""

from fedcart.shared.draws import draws

__all__ = ["draws"]
