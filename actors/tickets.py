"""What hosts hand in to be answered through; the machines only pass them on."""

from typing import Protocol

from prefetch_scheduler.actors.reply import Reply
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.plan import Plan
from prefetch_scheduler.policies.vocabulary import Reason


class PlanTicket(Protocol):
    """Told how a submit goes. Called in the planner's thread: must be short and never raise."""

    def plan_made(self, plan: Plan) -> None:
        """The plan is made; its loads are queued."""

    def immediate_done(self, ok: bool) -> None:
        """All P0 and P1 items are loaded (`ok`), or one of them cannot be. Called once."""

    def item_shed(self, key: str, reason: Reason) -> None:
        """One of the plan's items was given up to keep a queue within its bound. A ticket may do
        without this."""

    def given_up(self, error: PrefetchError) -> None:
        """The engine ends, or cannot make the plan."""


class AskedPlan:
    """Answers an ask of `Submit` with the plan."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def plan_made(self, plan: Plan) -> None:
        self._reply.set(plan)

    def immediate_done(self, ok: bool) -> None:
        """Who only asked for the plan is not told."""

    def item_shed(self, key: str, reason: Reason) -> None:
        """As `immediate_done`."""

    def given_up(self, error: PrefetchError) -> None:
        self._reply.fail(error)
