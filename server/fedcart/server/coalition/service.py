"""`coalition serve`: the listener for stores, who may call it, and one run at a time."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedcart.server.checkpoint import load_checkpoint
from fedcart.server.coalition.control import Control, Say, is_served
from fedcart.server.coalition.doors import RUN_MODEL, Doors, approvals
from fedcart.server.coalition.folder import MEMBERS, CoalitionFolder
from fedcart.server.coalition.runs import Runs
from fedcart.server.coalition.watch import Counters, Watch
from fedcart.server.listener import Guard, Listener, Members, server_context
from fedcart.server.tls_files import SERVER, SERVER_KEY, expires
from fedcart.shared.agreement import PLAN, Agreement
from fedcart.shared.errors import ConfigError, DataError, FedcartError, PrivacyRefused, ProtocolError
from fedcart.shared.flower_compat import SUPERLINK_NODE_ID, Context, RecordDict, UserConfig
from fedcart.shared.flower_compat.link import Link
from fedcart.shared.json_log import FIELDS
from fedcart.shared.model_files import save_model
from fedcart.shared.plan import Plan
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.storage import file_version

log = logging.getLogger("fedcart.coalition")
LOOK_S = 0.5
"""Seconds between two looks at the list of members, and at what a run waits for."""
NEW_PLAN = "fedcart coalition plan NAME --epsilon E"
DEADLINE_S = 300.0
"""Seconds that a flow of a round may take."""


class Service:
    """One coalition, served. Close it."""

    def __init__(
        self, folder: CoalitionFolder, host: str, port: int | None = None, *, watch_port: int | None = None
    ) -> None:
        """Listen for stores on host:port, and for the operator on a socket of this machine.

        Args:
          port: None = the coalition's; 0 = any.
          watch_port: of loopback, for /health and /metrics; None = none, 0 = any.

        Raises:
          ConfigError: another process serves this coalition: it would lose its runs and its operator to this one.
          InputError: the address cannot be bound, or the certificate cannot be used.
        """
        if is_served(folder.directory):
            raise ConfigError(f"{folder.directory} is served already; nothing was started", "stop that server first")
        self._folder, self._link, self._members = folder, Link(), Members()
        self._lock, self._running = threading.Lock(), threading.Lock()
        self._seen: object = None
        self._runs, self.counters = Runs(folder.directory), Counters()
        self._context = server_context(folder.tls / SERVER, folder.tls / SERVER_KEY)
        self._certificate: object = file_version(str(folder.tls / SERVER))
        doors = Doors(folder, self.sync_members).doors()
        guard = Guard(self._link.app, self._members, doors, self._link.wait_for_message, self._link.pushed)
        self.sync_members()
        self.listener = Listener(guard, host, folder.about().port if port is None else port, self._context)
        self._runs.interrupt()
        self.listener.start()
        self.watch: Watch | None = None
        try:
            self.watch = None if watch_port is None else Watch(watch_port, self._metrics, self._check)
            self._control = Control(folder.directory, self._asked)
        except BaseException:
            self._stop_listening()
            raise

    def close(self) -> None:
        """Serve no more. A run in progress goes on from its last finished round next time."""
        self._control.close()
        self._link.close()
        self._stop_listening()

    def serve(self, stop: threading.Event) -> None:
        """Follow changes of the list of members until told to stop."""
        while not stop.wait(LOOK_S):
            self.sync_members()
            self.sync_certificate()

    def sync_certificate(self) -> None:
        """Take up a renewed certificate for connections from now on."""
        path = self._folder.tls / SERVER
        version = file_version(str(path)) if path.exists() else None
        if version == self._certificate:
            return
        try:
            self._context.load_cert_chain(self._folder.tls / SERVER, self._folder.tls / SERVER_KEY)
        except (OSError, ssl.SSLError) as error:
            log.error("the renewed certificate cannot be used: %s", error)
        else:
            log.info("took up a renewed certificate")
        self._certificate = version

    def sync_members(self) -> None:
        """Let in who has joined, and out who was suspended or removed, as members.json says now."""
        with self._lock:
            version = file_version(str(self._folder.directory / MEMBERS))
            if version == self._seen:
                return
            self._seen = version
            wanted = {member.node_key.encode(): bytes.fromhex(member.key) for member in self._folder.joined()}
            for key in [key for key in self._members.keys if key not in wanted]:
                del self._members.keys[key]
                self._link.remove_member(key)
            for key, identity in wanted.items():
                self._link.add_member(key)
                self._members.keys[key] = identity

    def _stop_listening(self) -> None:
        if self.watch is not None:
            self.watch.close()
        self.listener.stop()

    def _metrics(self) -> str:
        left = expires(self._folder.tls).timestamp() - time.time()
        now = {"joined": len(self._members.keys), "online": self._link.online()}
        gauges = {f"fedcart_stores_{name}": float(count) for name, count in now.items()}
        return self.counters.text({**gauges, "fedcart_certificate_seconds": left})

    def _check(self) -> None:
        """Stores can call: the certificate can be read and has not expired."""
        if (until := expires(self._folder.tls)).timestamp() < time.time():
            raise ConfigError(f"the server certificate expired at {until:%Y-%m-%d %H:%M} UTC; no store can call")

    # --- what the operator asks

    def _asked(self, question: Mapping[str, Any], say: Say) -> None:
        if question.get("do") != "train":
            say({"event": "failed", "message": "unknown question", "exit_code": 2})
            return
        if not self._running.acquire(blocking=False):
            say({"event": "failed", "message": "a run is in progress; nothing was started", "exit_code": 2})
            return
        self.counters.running(True)
        try:
            self._train(float(question.get("wait_s", 60.0)), float(question.get("deadline_s", DEADLINE_S)), say)
        except FedcartError as error:
            log.error("%s", error.message)
            say({"event": "failed", "message": error.message, "hint": error.hint, "exit_code": error.exit_code})
        except Exception as error:
            log.exception("the run failed")
            say({"event": "failed", "message": f"the run raised {type(error).__name__}", "exit_code": 1})
        finally:
            self.counters.running(False)
            self._running.release()

    def _train(self, wait_s: float, deadline_s: float, say: Say) -> None:
        place = self._folder.published()
        if place is None:
            raise ProtocolError("no plan is published; nothing was run", NEW_PLAN)
        about = described(place)
        refuse_out_of_time(place, about)
        run = self._runs.begin(time.time(), about)
        try:
            self._wait_for_approvals(place, wait_s, say)
            self._rounds(place, deadline_s, run, say)
        except BaseException as error:
            known = isinstance(error, FedcartError)
            reason, code = (error.message, error.exit_code) if known else (type(error).__name__, 1)  # type: ignore[attr-defined]
            self.counters.ended(well=False)
            self._record(lambda: self._runs.end(run, time.time(), "failed", reason, code))
            raise
        self.counters.ended(well=True)
        self._record(lambda: self._runs.end(run, time.time(), "done"))
        say({"event": "done", "directory": str(place)})

    def _rounds(self, place: Path, deadline_s: float, run: int, say: Say) -> None:
        """Run the plan's rounds, and keep its model."""
        from fedcart.server.app import app

        def finished(line: Mapping[str, Any]) -> None:
            self.counters.round(line)
            self._record(lambda: self._runs.add_round(run, line))
            say({"event": "round", **line})

        stores = frozenset(Roster.load(place / ROSTER).stores)
        grid = self._link.start_run(
            lambda: {member.node_key.encode(): member.key for member in self._folder.joined() if member.key in stores}
        )
        watching = _Rounds(finished)
        logger = logging.getLogger("fedcart.rounds")
        logger.addHandler(watching)
        logger.setLevel(logging.INFO)
        try:
            cohort = Plan.load(place / PLAN).cohort()  # fewer than all are enough where the noise is planned for it
            least = 0 if cohort is None else cohort.min_survivors
            config: UserConfig = {
                "run-dir": str(place),
                "deadline-s": deadline_s,
                "quorum": least,
                "earlier": str(place.parent),
            }
            app(grid=grid, context=Context(grid.run.run_id, SUPERLINK_NODE_ID, {}, RecordDict(), config))
        finally:
            logger.removeHandler(watching)
            self._link.finish_run(grid)
        keep_model(place)

    def _record(self, write: Callable[[], None]) -> None:
        """Write into the record of runs; a run that was paid for does not end because that cannot be written."""
        try:
            write()
        except DataError as error:
            log.error("%s", error)

    def _wait_for_approvals(self, place: Path, wait_s: float, say: Say) -> None:
        """Until every store of the plan's roster countersigned it.

        Raises:
          ProtocolError: some did not in time.
        """
        names = {member.key: member.name for member in self._folder.members()}
        roster, until, told = Roster.load(place / ROSTER), time.monotonic() + wait_s, None
        while missing := [names.get(key, key[:16]) for key in roster.stores if key not in approvals(place)]:
            if missing != told:
                say({"event": "waiting", "stores": missing})
                told = missing
            if time.monotonic() > until:
                raise ProtocolError(
                    f"{', '.join(missing)} did not approve the plan within {wait_s:g} s; nothing was run",
                    "see each store's log: fedcart store run",
                )
            time.sleep(LOOK_S / 2)


def keep_model(place: Path) -> None:
    """Put the model of a finished run where stores are given it."""
    agreement = Agreement.open(place)
    found = load_checkpoint(place, agreement.plan_hash)
    if found is not None and not (place / RUN_MODEL).exists():
        save_model(place / RUN_MODEL, agreement.plan, agreement.catalogue, found.state, rehearsal=False)


def refuse_out_of_time(place: Path, about: Mapping[str, Any]) -> None:
    """Refuse to go on with a plan that no store answers any more, or yet; a run that is complete stays so.

    Raises:
      PrivacyRefused: it does not hold now. Nothing was sent.
    """
    wrong = Plan.load(place / PLAN).out_of_time(int(time.time()))
    if not wrong:
        return
    found = load_checkpoint(place, about["plan_hash"])
    if found is None or found.round_index + 1 < about["rounds"]:
        raise PrivacyRefused(f"plan {place.name}: {wrong}; nothing was sent or charged", f"make a new one: {NEW_PLAN}")


def described(place: Path) -> dict[str, Any]:
    """A plan, as the record of runs names it."""
    agreement = Agreement.open(place)
    plan = agreement.plan
    return {
        "plan": place.name,
        "plan_hash": agreement.plan_hash,
        "learner": plan.learner,
        "trust": plan.trust,
        "epsilon": None if plan.privacy is None else str(plan.privacy.epsilon),
        "stores": plan.participants,
        "rounds": len(agreement.rounds),
    }


class _Rounds(logging.Handler):
    """Hands on each finished round, with the fields of rounds.jsonl."""

    def __init__(self, finished: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._finished = finished

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "round"):
            self._finished({name: getattr(record, name, None) for name in FIELDS})
