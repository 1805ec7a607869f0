"""A store's node: fetches messages, lets the app that is installed here answer, sends the replies.

It never loads code that it is sent, opens no port, sets no signal handler and never ends the process: it can live in a
thread of the partner's own service. Whatever fails between here and the coordinator is tried again until the message's
deadline; what fails in the app leaves as the class of its error, never its text. An error that nobody expected ends the
node, and is in the log with its traceback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedcart.shared.errors import FedcartError, InputError, ProtocolError
from fedcart.shared.flower_compat import RAISED, ClientApp, Context, Error, Message, RecordDict, UserConfig
from fedcart.shared.flower_compat.fleet import FleetLink, Refused, Unreachable
from fedcart.shared.storage import replace_bytes

log = logging.getLogger("fedcart.uplink")

POLL_S, HOLD_S = 0.2, 5.0
"""Seconds between two looks for a message, and that the coordinator may hold a look until there is one."""
LEASE_S = 15.0
"""Of the heartbeat: the coordinator takes the node for dead after twice this long without one."""
BEATS = 3
"""Heartbeats within a lease."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
"""Between two tries to reach the coordinator: doubling from the first to the longest."""


@dataclass(frozen=True)
class NodeState:
    """What a node can say about itself.

    Attributes:
      online: whether the last call was answered.
      trouble: why not; empty when all is well.
      answered: messages answered so far.
      last_message: seconds since 1970 of the last one; None before the first.
      ended: whether an error that nobody expected ended the node.
    """

    online: bool = False
    trouble: str = "not started"
    answered: int = 0
    last_message: float | None = None
    ended: bool = False


class StoreNode:
    """One store's node. `run` works in the caller's thread until told to stop; `start` and `stop` use their own."""

    def __init__(
        self,
        connect: Callable[[], FleetLink],
        app: ClientApp,
        config: UserConfig | None,
        *,
        memory: Path | None = None,
        poll_s: float = POLL_S,
        hold_s: float = HOLD_S,
        lease_s: float = LEASE_S,
    ) -> None:
        """Connect to nothing yet.

        Args:
          connect: opens the line; called again after a loss that only a new one mends.
          config: the node's configuration in the app's context; None = not ready: it is online, and messages wait for
            `configure`, until their deadline.
          memory: file that remembers the node's number, so that a store that was killed is back at once and need not
            wait until its lease has run out.
          poll_s: seconds between two looks for a message, where the coordinator does not hold them.
          hold_s: seconds that it may; a stop takes up to as long.
          lease_s: 10 to 1800.
        """
        self._connect, self._app, self._config = connect, app, config
        self._memory, self._poll_s, self._hold_s, self._lease_s = memory, poll_s, hold_s, lease_s
        self._context: Context | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._state = NodeState()

    @property
    def state(self) -> NodeState:
        """As of now."""
        with self._lock:
            return self._state

    def configure(self, config: UserConfig) -> None:
        """Change the node's configuration from the next message on."""
        with self._lock:
            self._config = dict(config)

    def _is_ready(self) -> bool:
        with self._lock:
            return self._config is not None

    def start(self) -> None:
        """Run in a background thread."""
        if self._thread is not None and self._thread.is_alive():
            raise FedcartError("the node runs already; nothing was started")
        self._stop.clear()
        self._note(ended=False)
        self._thread = threading.Thread(target=self._alone, name="fedcart-store", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Ask it to stop and wait; False when it still works on a message after `timeout_s`."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set.

        Raises:
          Exception: what nobody expected, after it was logged; nothing that the coordinator or the network causes.
        """
        try:
            self._work(stop)
        except Exception as error:
            log.exception("the node ended")
            self._note(online=False, ended=True, trouble=f"ended by {type(error).__name__}")
            raise
        self._note(online=False, trouble="stopped")

    def _alone(self) -> None:
        """Run in a thread that nobody waits for: what ended it is in `state`."""
        with contextlib.suppress(Exception):
            self.run(self._stop)

    def _work(self, stop: threading.Event) -> None:
        wait = FIRST_WAIT_S
        while not stop.is_set():
            link = self._connect()
            try:
                self._activate(link)
                wait = FIRST_WAIT_S
                self._serve(link, stop)
            except FedcartError as error:
                self._troubled(error)
                stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
            finally:
                link.close()

    # --- coming and staying online

    def _activate(self, link: FleetLink) -> None:
        """Come online; as the node that this store was before it was killed, where the coordinator still holds it."""
        before = self._remembered()
        try:
            node = link.activate(self._lease_s)
        except Refused as refused:
            if before is None or refused.status == 401:
                raise
            try:
                link.deactivate(before)
            except Refused:
                raise refused from None  # it is not ours, or it is gone: the lease will run out
            node = link.activate(self._lease_s)
        self._remember(node)
        self._context = Context(0, node, self._config or {}, RecordDict(), {})
        log.info("online as node %d", node)
        self._note(online=True, trouble="")

    def _serve(self, link: FleetLink, stop: threading.Event) -> None:
        """Answer messages until told to stop, or until the coordinator knows this node no more."""
        ended, lost = threading.Event(), threading.Event()
        heart = threading.Thread(target=self._beat, args=(link, ended, lost), name="fedcart-heartbeat", daemon=True)
        heart.start()
        try:
            self._poll(link, stop, lost)
        finally:
            ended.set()
            heart.join()
            if stop.is_set() and link.node is not None:
                try:
                    link.deactivate(link.node)
                except (Unreachable, Refused) as error:
                    log.info("left without a word: %s", error.message)

    def _poll(self, link: FleetLink, stop: threading.Event, lost: threading.Event) -> None:
        wait = FIRST_WAIT_S
        while not stop.is_set():
            if lost.is_set():
                raise Unreachable("the coordinator does not know this node any more")
            if not self._is_ready():
                stop.wait(self._poll_s)
                continue
            looked = time.monotonic()
            try:
                message = link.pull(self._hold_s)
            except Unreachable as error:
                self._troubled(error)
                stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
                continue
            except Refused:
                raise
            except ProtocolError as error:
                log.error("%s", error.message)
                message = None
            wait = FIRST_WAIT_S
            self._note(online=True, trouble="")
            if message is not None:
                self._push(link, self._answer(message), message, stop)
            else:
                stop.wait(max(0.0, looked + self._poll_s - time.monotonic()))

    def _beat(self, link: FleetLink, ended: threading.Event, lost: threading.Event) -> None:
        """Heartbeats, from a thread of their own, since an answer may take longer than a lease."""
        while not ended.wait(self._lease_s / BEATS):
            try:
                link.heartbeat(self._lease_s)
            except Unreachable as error:
                log.info("%s", error.message)
            except Refused as error:
                log.warning("%s", error.message)
                lost.set()
                return
            except Exception:
                lost.set()  # without heartbeats it would stay here, and be asked nothing
                log.exception("a heartbeat was not sent")
                return

    # --- one message

    def _answer(self, message: Message) -> Message:
        """The app's reply; an exception leaves as its class."""
        assert self._context is not None
        with self._lock:
            self._context.node_config = self._config or {}
        try:
            return self._app(message, self._context)
        except Exception as error:
            log.exception("a message was not answered")
            return Message(Error(RAISED, type(error).__name__), reply_to=message)

    def _push(self, link: FleetLink, reply: Message, asked: Message, stop: threading.Event) -> None:
        """Send, again and again while the message is good; after that nobody waits for it."""
        until, wait = asked.metadata.created_at + asked.metadata.ttl, FIRST_WAIT_S
        while True:
            try:
                link.push(reply)
            except Unreachable as error:
                if stop.is_set() or time.time() + wait > until:
                    log.warning("a reply was not sent before its deadline: %s", error.message)
                    return
                self._troubled(error)
                stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
            except Refused as error:
                log.warning("a reply was not taken: %s", error.message)
                if error.status == 401:
                    raise
                return
            else:
                with self._lock:
                    answered = self._state.answered + 1
                self._note(online=True, trouble="", answered=answered, last_message=time.time())
                return

    # --- what it remembers and says

    def _remembered(self) -> int | None:
        if self._memory is None or not self._memory.exists():
            return None
        try:
            return int(json.loads(self._memory.read_bytes())["node"])
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s cannot be read; a killed node is back when its lease has run out", self._memory.name)
            return None

    def _remember(self, node: int) -> None:
        if self._memory is None:
            return
        try:
            replace_bytes(self._memory, json.dumps({"node": node}).encode())
        except InputError as error:  # a full disk
            log.warning("%s; if this node is killed it is back when its lease has run out", error.message)

    def _troubled(self, error: FedcartError) -> None:
        if self.state.trouble != error.message:
            log.warning("%s; trying again", error.message)
        self._note(online=False, trouble=error.message)

    def _note(self, **changes: object) -> None:
        with self._lock:
            self._state = dataclasses.replace(self._state, **changes)  # type: ignore[arg-type]
