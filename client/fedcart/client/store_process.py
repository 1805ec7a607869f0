"""A store that takes part: its node, and beside it the plans that it is shown, checked, approved and made ready.

Embeddable: `start` and `stop`, or `run` in a thread of your own. Policy, ledger and keys are the store's files;
whatever comes from the coordinator is checked against them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from fedcart.client.approve import accept, look
from fedcart.client.gate import Surroundings
from fedcart.client.masking import LedgerHead, StoreMasks
from fedcart.client.membership.coordinator import fetch_model, fetch_plan, send_approval
from fedcart.client.membership.files import MemberFiles
from fedcart.client.membership.ready import make_ready, use_model
from fedcart.client.store_folder import NUMBER, StoreFolder
from fedcart.client.uplink import NodeState, StoreNode, load_node_key
from fedcart.client.witness import pinned_coordinator
from fedcart.shared.agreement import CATALOGUE, PLAN, Agreement
from fedcart.shared.errors import FedcartError, PrivacyRefused, ProtocolError
from fedcart.shared.flower_compat.fleet import FleetLink
from fedcart.shared.identity import fingerprint
from fedcart.shared.model_files import ABOUT
from fedcart.shared.plan import Plan
from fedcart.shared.policy import Policy
from fedcart.shared.roster import ROSTER, Roster
from fedcart.shared.signatures import SIGNATURES, PlanSignatures
from fedcart.shared.storage import replace_bytes

log = logging.getLogger("fedcart.store")
LOOK_S = 2.0
"""Seconds between two questions for a new plan."""
FILES = (PLAN, CATALOGUE, SIGNATURES, ROSTER)


class StoreProcess:
    """One store's part in its coalition. Nothing runs before `start` or `run`."""

    def __init__(
        self, directory: Path, *, look_s: float = LOOK_S, ready: Callable[[Path, Path], None] = make_ready
    ) -> None:
        """
        Args:
          look_s: seconds between two questions for a new plan.
          ready: (store's folder, plan's directory): reads the store's data and writes the run's records there.

        Raises:
          ConfigError: the folder is no store, or has joined no coalition.
        """
        from fedcart.client.app import make_app

        self._files = MemberFiles(StoreFolder.open(directory.resolve()))
        membership, self._identity = self._files.membership(), self._files.folder.identity()
        key, authority = load_node_key(self._files.node_key), membership.authority.encode()
        self._make_ready, self._coalition = ready, membership.coalition
        self._look_s, self._trouble, self._waiting, self._ended = look_s, "", "", ""
        self._shown, self._ready, self._modelled = "", "", ""
        self._masks: tuple[str, StoreMasks] | None = None
        self._masks_lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._node = StoreNode(
            lambda: FleetLink(membership.address, authority, key, self._identity.sign),
            make_app(self._around),
            None,
            memory=self._files.node_memory,
        )

    @property
    def state(self) -> NodeState:
        """The node's; of a store that an error ended, with the reason."""
        found = self._node.state
        return dataclasses.replace(found, online=False, ended=True, trouble=self._ended) if self._ended else found

    @property
    def plan(self) -> str:
        """Name of the plan that it is ready for; empty before."""
        return self._ready

    def start(self) -> None:
        """Run in background threads; `state` says when an error ended them.

        Raises:
          ConfigError: another process, or object, takes part with this folder.
        """
        held = contextlib.ExitStack()
        held.enter_context(self._files.alone())
        self._stop.clear()
        self._thread = threading.Thread(target=self._unwatched, args=(held,), name="fedcart-plans", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and erase the secrets of secure aggregation."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(60)

    def run(self, stop: threading.Event) -> None:
        """Take part until told to stop.

        Raises:
          ConfigError: another process, or object, takes part with this folder.
          FedcartError: an error that nobody expected ended it; the log has its traceback.
        """
        with self._files.alone():
            self._take_part(stop)

    def _take_part(self, stop: threading.Event) -> None:
        self._ended = ""
        self._node.start()
        try:
            while not self._node.state.ended:
                try:
                    self._look_for_plan()
                    self._trouble = ""
                except FedcartError as error:
                    if error.message != self._trouble:
                        log.error("%s", error)
                    self._trouble = error.message
                except Exception as error:
                    log.exception("the store ended")
                    self._ended = f"ended by {type(error).__name__}"
                    break
                if stop.wait(self._look_s):
                    return
            raise FedcartError(
                f"the store was {self.state.trouble}; its text log has the traceback", "please report it"
            )
        finally:
            self._node.stop()
            with self._masks_lock:
                if self._masks is not None:
                    self._masks[1].close()
                self._masks = None

    def _unwatched(self, held: contextlib.ExitStack) -> None:
        """Run in a thread that nobody waits for: what ended it is in `state`."""
        with held, contextlib.suppress(FedcartError):
            self._take_part(self._stop)

    # --- plans

    def _look_for_plan(self) -> None:
        """Fetch what is new; approve it where the policy says so unasked; get ready once it is countersigned."""
        found = fetch_plan(self._files, self._identity, self._shown)
        if found is not None:
            self._keep(*found)
        name = self._shown
        if name == self._ready:
            self._look_for_model()
            return
        place = self._files.plan(name)
        countersignature = self._approved(place)
        if countersignature is None:
            return
        agreement = Agreement.open(place)
        self._make_ready(self._files.folder.directory, place)
        send_approval(self._files, self._identity, agreement.plan_hash, countersignature)
        self._node.configure({"records": str(place), "store": NUMBER})
        self._ready = name
        log.info("ready for plan %s", name)

    def _look_for_model(self) -> None:
        """Recommend from the run's model once it is finished; an older one can be put back by `store use`."""
        if not self._ready or self._modelled == self._ready:
            return
        place, key = self._files.plan(self._ready), self._files.folder.policy().trust.coordinator_key
        agreement = Agreement.open(place)
        if (place / "model" / ABOUT).exists() or fetch_model(
            self._files, self._identity, self._ready, agreement.plan_hash, key
        ):
            use_model(self._files.folder.directory, place)
            self._modelled = self._ready
            log.info("recommends from the model of plan %s", self._ready)

    def _keep(self, name: str, texts: dict[str, str]) -> None:
        """Write a plan's files; those of a plan that was shown before stay, with the store's countersignature."""
        if set(texts) != set(FILES):
            raise ProtocolError("a plan without all of its files; nothing was approved")
        place = self._files.plan(name)
        if not (place / ROSTER).exists():
            place.mkdir(parents=True, exist_ok=True)
            for file in FILES:
                replace_bytes(place / file, texts[file].encode())
        self._shown = name

    def _approved(self, place: Path) -> str | None:
        """This store's countersignature; None, and a word of it in the log, while it waits for a person, or for a plan
        that names it: nothing is wrong then.

        Raises:
          PrivacyRefused: the policy refuses the plan or its roster.
        """
        policy, own = self._files.folder.policy(), self._identity.public.hex()
        if not policy.trust.coordinator_key:
            raise PrivacyRefused(
                f"{self._files.policy_file} pins no coordinator_key: anybody could have signed a plan; nothing was "
                "approved",
                "set [trust] coordinator_key to the key that the coordinator told you",
            )
        with self._files.folder.open_ledger() as ledger:
            roster = Roster.load(place / ROSTER)
            if own not in roster.stores:
                if self._waits_now(f"{place.name} of others"):
                    log.info("plan %s was made without this store, which takes part from the next one on", place.name)
                return None
            seen = look(place, policy, ledger, self._identity)
            check_origin(seen.agreement.plan, self._coalition, policy)
            if seen.agreement.plan.trust == "distributed":
                known_keys(roster, policy, own)
            signed = PlanSignatures.load(place / SIGNATURES)
            if own not in signed.countersignatures:
                seen.require()
                if not policy.approve.auto:
                    if self._waits_now(f"{place.name} for a person"):
                        log.info("plan %s waits for a person's approval: fedcart store approve %s", place.name, place)
                    return None
                signed = accept(seen, ledger, self._identity)
        return signed.countersignatures[own]

    def _waits_now(self, words: str) -> bool:
        """Whether it did not wait for the same when it last looked: what it waits for is told once."""
        before, self._waiting = self._waiting, words
        return before != words

    # --- what it brings to the gate

    def _around(self, directory: str, store: int) -> Surroundings:
        policy, folder = self._files.folder.policy(), self._files.folder
        return Surroundings(
            policy=policy,
            open_ledger=folder.open_ledger,
            masks=self._masks_of(Path(directory), policy),
            coordinator=pinned_coordinator(directory, policy),
        )

    def _masks_of(self, place: Path, policy: Policy) -> StoreMasks | None:
        """Its part in secure aggregation of a plan, kept in this process's memory as long as the plan is."""
        agreement = Agreement.open(place)
        if agreement.plan.trust != "distributed":
            return None
        with self._masks_lock:
            if self._masks is not None and self._masks[0] == place.name:
                return self._masks[1]
            if self._masks is not None:
                self._masks[1].close()
                self._masks = None
            roster, own = Roster.load(place / ROSTER), self._identity.public.hex()
            journal = self._files.journal(place.name)
            journal.parent.mkdir(mode=0o700, exist_ok=True)
            made = StoreMasks(
                agreement,
                roster.stores.index(own),
                self._identity,
                journal,
                LedgerHead(self._files.folder.ledger_file, self._files.folder.open_ledger),
                known=known_keys(roster, policy, own),
                roster_root=policy.trust.roster_root,
            )
            self._masks = (place.name, made)
            return made


def check_origin(plan: Plan, coalition: str, policy: Policy) -> None:
    """Refuse a plan that does not say whose it is and for which code. Raises PrivacyRefused."""
    if plan.coalition != coalition or plan.coordinator_key != policy.trust.coordinator_key or plan.app_hash is None:
        raise PrivacyRefused(
            f"the plan is of coalition {plan.coalition!r}, not of {coalition!r} by its pinned coordinator, or names no "
            "app_hash; nothing was approved"
        )


def known_keys(roster: Roster, policy: Policy, own: str) -> list[bytes]:
    """Public keys of the roster that this store knows not to be invented: itself, and those its policy names.

    With a pinned roster_root all of that roster's are.

    Raises:
      PrivacyRefused: the policy names none and pins no roster: a coordinator could have invented all the others.
    """
    keys = [bytes.fromhex(key) for key in roster.stores]
    if policy.trust.roster_root:
        if policy.trust.roster_root != roster.hash:
            raise PrivacyRefused("the plan's roster is not the one that [trust] roster_root pins; nothing was approved")
        return keys
    known = [key for key in keys if key.hex() == own or fingerprint(key) in policy.trust.known_stores]
    if len(known) < 2:
        raise PrivacyRefused(
            f"the policy knows none of the other stores in roster {roster.hash}: the coordinator could have invented "
            "them; nothing was approved",
            "compare the roster's hash, or stores' fingerprints, with the other stores and set [trust] roster_root or "
            "known_stores",
        )
    return known
