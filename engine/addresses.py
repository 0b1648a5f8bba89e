"""The addresses of an engine's actors, for hosts that speak in messages."""

from prefetch_scheduler.actors.address import Address
from prefetch_scheduler.policies.values import frozen


@frozen
class Actors:
    """Stable addresses: each stays good when the actor behind it is restarted.

    `prefetch_scheduler.actors.messages` lists what each of them takes, and what it answers.
    """

    planner: Address
    cache: Address
    metrics: Address
    supervisor: Address
