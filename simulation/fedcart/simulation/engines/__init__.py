"""Ways to run the two Flower apps on one machine: in this process, on Flower's simulation runtime (ray), or as a
coalition runs them: coordinator and stores in processes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedcart.shared.errors import ConfigError

if TYPE_CHECKING:
    from fedcart.client.app import Around
    from fedcart.simulation.engines.faults import FaultHook


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How a run is carried out. Nothing here changes a result, except `drop_rate` and `quorum`.

    Attributes:
      name: `in-process`; `ray`: Flower's own simulation runtime with worker processes; `deployment`: a process for
        the coordinator and one for each store, over TLS on the loopback interface.
      mode: in-process only. `lazy`: a store runs when its reply is asked for; memory stays flat. `copy`: all
        stores run when the messages are sent, on deep copies. `wire`: as `copy`, and every message is serialised
        and parsed both ways as a deployment's transport does.
      threads: stores that run at the same time (in-process: threads; ray: worker processes).
      drop_rate: probability that a store does not answer a round, by a seeded coin that never sees its data.
      seed: of those coins.
      deadline_s: seconds a round may take.
      quorum: least number of stores whose sum is used. None = all, or with a drop_rate more than half.
      aggregation: `SA1`: stores mask what they send, and totals are opened by secure aggregation; on ray a store then
        keeps one worker process, where its secrets are. `plain`: their parts are added up in the clear.
      archive: directory of SA1's transcripts; None = in the run's directory.
    """

    name: Literal["in-process", "ray", "deployment"] = "in-process"
    mode: Literal["copy", "wire", "lazy"] = "lazy"
    threads: int = 1
    drop_rate: float = 0.0
    seed: int = 0
    deadline_s: float = 3600.0
    quorum: int | None = None
    aggregation: Literal["SA1", "plain"] = "plain"
    archive: Path | None = None

    def __post_init__(self) -> None:
        if self.name not in ("in-process", "ray", "deployment") or self.mode not in ("copy", "wire", "lazy"):
            raise ConfigError(f"engine {self.name!r} in mode {self.mode!r} is unknown; nothing was run")
        if not (self.threads >= 1 and 0 <= self.drop_rate < 1 and self.deadline_s > 0):
            raise ConfigError(
                f"threads {self.threads}, drop_rate {self.drop_rate}, deadline_s {self.deadline_s}: at least 1, in "
                "[0, 1), positive; nothing was run"
            )

    def least(self, stores: int) -> int:
        """The quorum of a run with that many stores."""
        if self.quorum is not None:
            return self.quorum
        return stores if self.drop_rate == 0 else stores // 2 + 1


def run(
    directory: Path,
    stores: int,
    settings: EngineSettings,
    faults: FaultHook | None = None,
    around: Around | None = None,
) -> None:
    """Run the plan in `directory` with `stores` stores to its end, from its checkpoint if there is one.

    `directory` holds plan.json, catalogue.json and records/ (`fedcart.shared.agreement`, `client.records`).
    `around` makes what a store brings to the gate (`client.app`); it is pickled where stores run elsewhere, as are
    `faults` on `deployment`.

    Raises:
      RoundFailed: a round ended below its quorum; running again goes on from there.
      ConfigError: the checkpoint is another plan's, or ray is not installed.
    """
    if settings.name == "ray":
        from fedcart.simulation.engines.ray import run_on_ray

        run_on_ray(directory, stores, settings, faults, around)
    elif settings.name == "deployment":
        from fedcart.simulation.engines.deployment import run_deployed

        run_deployed(directory, stores, settings, faults, around)
    else:
        from fedcart.simulation.engines.in_process import run_in_process

        run_in_process(directory, stores, settings, faults, around)
