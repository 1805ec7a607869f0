"""Ray workers that keep their stores: every message of one store goes to one worker process, for the whole run.

Flower's own pool gives a message to any idle worker, so nothing that a store remembers in memory is there for the next
one. Here stores are dealt round the workers by partition. A worker that dies is not replaced, and what its stores kept
in memory is gone, as after a store's crash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.clientapp import ClientApp
from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend
from flwr.simulation.ray_transport.ray_actor import BasicActorPool, ClientAppActor


class StickyPool(BasicActorPool):
    """Workers never leave the pool; each answers one message at a time, in the order they came to it."""

    def submit(self, actor_fn: Any, job: Any) -> Any:
        """Give the job to its store's worker."""
        load_app, message, partition, context = job
        worker = self.pool[int(partition) % len(self.pool)]
        future = actor_fn(worker, load_app, message, partition, context)
        self._future_to_actor[future] = worker
        return future

    def add_actor_back_to_pool(self, future: Any) -> None:
        """It is there still."""
        del self._future_to_actor[future]


class StickyBackend(RayBackend):
    """RayBackend over a StickyPool."""

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        """Start the workers."""
        self.pool = StickyPool(ClientAppActor, self.client_resources, self.actor_kwargs)
        self.pool.add_actors_to_pool(self.pool.actors_capacity)
        self.app_fn = app_fn
