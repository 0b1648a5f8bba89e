"""The accounts of the sessions: live ones, the latest ended ones, and the sum of the rest."""

from collections import OrderedDict
from collections.abc import Iterator

from attrs import field

from prefetch_scheduler.policies.account import Account
from prefetch_scheduler.policies.counts import Counts
from prefetch_scheduler.policies.values import define

KEPT_SESSIONS = 64
"""Sessions that have ended, or were never opened, which keep figures of their own."""


@define(eq=False)
class SessionAccounts:
    """Finds, opens, closes and forgets accounts.

    What is counted for a session that nobody opened is kept with the ended ones, so that events
    that arrive after their session's end cannot leave accounts behind for ever.
    """

    list_limit: int
    total: Account = field(init=False)
    forgotten: Counts = field(init=False, factory=Counts)
    """The sums of the sessions that no longer have an account."""
    forgotten_sessions: int = field(init=False, default=0)
    _rest: Account = field(init=False)
    """Takes what is noted of single keys and skills in forgotten sessions; nobody asks for it."""
    _live: dict[str, Account] = field(init=False, factory=dict)
    _kept: OrderedDict[str, Account] = field(init=False, factory=OrderedDict)
    """Ended or never opened, oldest first."""
    leaving: list[str] = field(init=False, factory=list)
    """The sessions forgotten since `left` was last called."""

    @total.default
    def _new_total(self) -> Account:
        return Account("", self.list_limit)

    @_rest.default
    def _new_rest(self) -> Account:
        return Account("", self.list_limit)

    def find(self, session: str) -> Account | None:
        """The session's account, if it has one."""
        return self._live.get(session) or self._kept.get(session)

    def of(self, session: str) -> Account:
        """The session's account, made where it has none."""
        account = self.find(session)
        if account is None:
            account = Account(session, self.list_limit)
            self._keep(account)
        elif not account.opened:
            self._kept.move_to_end(session)
        return account

    def open(self, session: str, project: str | None, user: str | None) -> Account:
        """The account of a session that starts: anew where one of that id has ended."""
        account = self._live.get(session)
        if account is None:
            account = self._kept.pop(session, None)
            if account is not None and account.ended:
                self._forget(account)
                account = None
            account = account or Account(session, self.list_limit)
            account.opened = True
            self._live[session] = account
        account.project, account.user = project, user
        return account

    def close(self, session: str) -> bool:
        """The session has ended. False: it had not been seen."""
        account = self._live.pop(session, None)
        if account is not None:
            self._keep(account)
        else:
            account = self._kept.get(session)
        if account is not None:
            account.opened = account.ended = True
        return account is not None

    def left(self) -> list[str]:
        """The sessions forgotten since the last call."""
        leaving, self.leaving = self.leaving, []
        return leaving

    def __iter__(self) -> Iterator[Account]:
        """All sessions that have an account, the ended ones first."""
        yield from self._kept.values()
        yield from self._live.values()

    def sizes(self) -> tuple[int, int]:
        """How many sessions are live, and kept."""
        return len(self._live), len(self._kept)

    def _keep(self, account: Account) -> None:
        self._kept[account.session] = account
        if len(self._kept) > KEPT_SESSIONS:
            self._forget(self._kept.popitem(last=False)[1])

    def _forget(self, account: Account) -> None:
        self.forgotten.add(account.counts)
        self.forgotten_sessions += 1
        # Open prefetches still refer to the account: from here on they count with the forgotten.
        account.counts = self.forgotten
        account.keys, account.skills = self._rest.keys, self._rest.skills
        account.forgotten = True
        self.leaving.append(account.session)
