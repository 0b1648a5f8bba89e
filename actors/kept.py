"""What outlives one incarnation of the planner or the CacheLayer.

One thread at a time writes here: the incarnation that serves the address. One that was left
behind while it hung writes nothing any more: it hangs in carrying out effects (a logging handler, a
ticket of the host), where it looks whether it is still wanted, and never inside a machine.
"""

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field
from pykka._envelope import Envelope

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.actors.reply import Reply
from prefetch_scheduler.actors.view import Tally
from prefetch_scheduler.policies.adopting import Adoption
from prefetch_scheduler.policies.cache_events import Put
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.layers import CacheLayers
from prefetch_scheduler.policies.planner_events import Demand, Retry, Submit
from prefetch_scheduler.policies.planner_state import PlannerState
from prefetch_scheduler.policies.restoring import Restoring
from prefetch_scheduler.policies.values import define


class AskedDemand:
    """A reader that asked by message and reads no view: it is answered from the view for it."""

    def __init__(self, reply: Reply, demand: Demand) -> None:
        self.reply = reply
        self.demand = demand


@define(eq=False)
class PlannerKept:
    """The planner's."""

    incarnation: int = 0
    """The latest one."""
    learned: Mapping[str, Any] | None = None
    """What an earlier engine learned, as `policies.remembering` gives it, for the first one."""
    state: PlannerState | None = None
    """Its state; once it is gone its successor reads there what it takes over."""
    adoption: Adoption | None = None
    submits: dict[str, Submit] = field(factory=dict)
    """The latest submit of each session that has one."""
    asked: dict[int, Demand | Submit] = field(factory=dict)
    """What has been taken on and not been answered, by the identity of its ticket."""

    def ask(self, message: Demand | Submit) -> None:
        """Taken on: somebody waits for an answer to its ticket."""
        if message.ticket is not None:
            self.asked[id(message.ticket)] = message

    def answered(self, ticket: Any) -> None:
        """Nobody waits for this ticket any more."""
        self.asked.pop(id(ticket), None)

    def release(self, address: Address) -> None:
        """The incarnation is gone. Readers are told to look again: they find its successor, or do
        without. Submits that were not planned yet are put back.
        """
        asked, self.asked = list(self.asked.values()), {}
        uncounted = self._uncounted()
        back: list[Envelope[Any]] = []
        for message in asked:
            counted = id(message.ticket) not in uncounted
            match message:
                case Submit():
                    back.append(Envelope(message))
                case Demand(ticket=AskedDemand() as ticket):
                    again = evolve(ticket.demand, counted=counted, ticket=ticket)
                    back.append(Envelope(again))
                case Demand(ticket=ticket):
                    ticket.set(Retry(None, counted))
        if not address.inbox.closed:
            address.inbox.put_back(back)
            return
        for envelope in back:  # the tree is ending: refused in the regular way
            address.tell(envelope.message)

    def _uncounted(self) -> set[int]:
        """Tickets of readers that wait for what has not begun: whether that is a late hit or a
        miss was still open.
        """
        flights = self.state.flights.live.values() if self.state is not None else ()
        return {id(w.ticket) for flight in flights for w in flight.waiters if w.uncounted}

    def fail_all(self, error: PrefetchError) -> None:
        """The engine ends, or is rebuilt: whoever waits for a load is told so."""
        asked, self.asked = list(self.asked.values()), {}
        for message in asked:
            refuse(message, error)


def refuse(message: Any, error: PrefetchError) -> None:
    """Tell whoever waits for this message's ticket that it will not be handled."""
    match message:
        case Demand(ticket=AskedDemand() as asked):
            asked.reply.fail(error)
        case Demand(ticket=ticket) if ticket is not None:
            ticket.fail(error)
        case Submit(ticket=ticket) if ticket is not None:
            told = getattr(ticket, "given_up", None)  # a host's own need not have it
            if told is not None:
                told(error)
            else:
                ticket.immediate_done(False)
        case _:
            pass


@define(eq=False)
class CacheKept:
    """The CacheLayer's; the content itself is in the view."""

    layers: CacheLayers | None = None
    """The latest incarnation's machine; its successor reads there how often and how lately each
    entry was read."""
    pins: dict[str, dict[str, None]] = field(factory=dict)
    """Session -> the cache keys that it keeps, in order."""
    retired: list[tuple[str, Tally]] = field(factory=list)
    """Tallies of ended sessions; a reader may be about to add to one."""
    puts: list[Put] = field(factory=list)
    """Those taken whose outcome the planner has not been told."""
    restoring: Restoring = field(factory=lambda: Restoring(over=True))
    """What must not come back any more; over where no store keeps anything over a restart."""

    def pin(self, stored: str, session: str) -> None:
        """A session keeps a key from now on."""
        self.pins.setdefault(session, {})[stored] = None

    def unpin(self, stored: str, session: str) -> None:
        """A session keeps a key no longer."""
        keys = self.pins.get(session, {})
        keys.pop(stored, None)
        if not keys:
            self.pins.pop(session, None)
