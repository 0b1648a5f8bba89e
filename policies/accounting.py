"""Counts everything the specification's report shows, for each session and for the engine.

`Accounting` is the pure side of the Metrics actor. Every figure is added to the session that owns
it and to the total at the same moment, so that the two can be compared at any time (`check`).
What it keeps is bounded: prefetches fold into counts as they end, lists hold their newest entries,
and only the latest ended sessions keep figures of their own.
"""

from collections.abc import Mapping
from typing import assert_never

from attrs import evolve

from prefetch_scheduler.policies import metrics_events as ev
from prefetch_scheduler.policies.account import Account, Ending, Prefetch
from prefetch_scheduler.policies.alerts import Alert, Alerts, Breach, breaches, targets
from prefetch_scheduler.policies.audit import audit
from prefetch_scheduler.policies.config import Config
from prefetch_scheduler.policies.counts import bump
from prefetch_scheduler.policies.keys import public_key
from prefetch_scheduler.policies.learned_figures import LearnedFigures
from prefetch_scheduler.policies.ledger import Anomaly, Ledger
from prefetch_scheduler.policies.outcomes import Verdict
from prefetch_scheduler.policies.report import Report
from prefetch_scheduler.policies.session_accounts import SessionAccounts
from prefetch_scheduler.policies.snapshot import EngineFigures, Snapshot
from prefetch_scheduler.policies.vocabulary import Cause, Reason, RemovalCause

MAX_NAMES = 64
"""Names under which dropped things are counted; further ones are summed under `OTHER`."""
MAX_NAME = 100
OTHER = "other"


class Accounting:
    """Takes `MetricsEvent`s; answers snapshots and reports."""

    def __init__(self, config: Config) -> None:
        self._rules = config.metrics
        self._sessions = SessionAccounts(config.metrics.list_limit)
        self._alerts = Alerts(config.metrics)
        layers = config.hot_cache_size + config.warm_cache_size + config.cold_cache_size
        # Twice what can be resident, and room for loads that sources keep hanging.
        self._ledger = Ledger(open_limit=2 * layers + 4096)
        self._today = 0
        self._learned: LearnedFigures | None = None

    # ---- in ----------------------------------------------------------------------------------

    def handle(
        self, event: ev.MetricsEvent, now: float = 0.0, wall: float = 0.0, today: int | None = None
    ) -> list[Alert]:
        """Count one event.

        Args:
            event: What happened.
            now: Engine time in seconds; no figure depends on it, nor on `wall`.
            wall: Wall-clock seconds since the epoch.
            today: Ordinal of the local calendar day, to which saved time is credited; None: as
                at the event before.

        Returns:
            The alerts raised or cleared by it.
        """
        del now, wall
        self._today = self._today if today is None else today
        account = self._apply(event)
        effects: list[Alert] = []
        if self._sessions.leaving:
            for session in self._sessions.left():
                effects.extend(self._alerts.forget(session))
        if account is not None and not account.forgotten:
            effects.extend(self._alerts.evaluate(account.session, account.counts))
        return effects

    def _apply(self, event: ev.MetricsEvent) -> Account | None:
        """Count the event; the session's account, if its alerts may be others now."""
        match event:  # the most frequent first
            case ev.PrefetchStarted():
                return self._start(event)
            case ev.PrefetchLoaded():
                return self._loaded(event)
            case ev.Note() | ev.Planned():
                return None
            case ev.Learned(figures=figures):
                self._learned = figures
                return None
            case ev.SessionOpened(session=session, project=project, user=user):
                return self._sessions.open(session, project, user)
            case ev.SessionClosed(session=session):
                if not self._sessions.close(session):
                    self._ledger.anomalies[Anomaly.UNKNOWN_SESSION] += 1
                return self._sessions.find(session)
            case ev.PrefetchUsed():
                return self._use(event)
            case ev.PrefetchWasted():
                return self._end(event, Ending.WASTED)
            case ev.PrefetchCancelled():
                return self._end(event, Ending.CANCELLED)
            case ev.PrefetchFailed():
                return self._end(event, Ending.FAILED)
            case ev.EntryRemoved():
                return self._removed(event)
            case ev.Dropped(what=what, count=count):
                self._dropped(what[:MAX_NAME], self._ledger.whole(count))
                return None
            case _:
                account = self._sessions.of(event.session)
                event = self._in_range(event)
                for each in (account, self._sessions.total):
                    self._count(event, each, predicted_by=account)
                return account

    def _count(self, event: ev.SessionEvent, each: Account, *, predicted_by: Account) -> None:
        """Add a session's event to its own account or to the total."""
        match event:
            case ev.BudgetGranted(tokens=tokens):
                each.counts.budget_granted += tokens
            case ev.Predicted(keys=keys):
                each.predicted(tuple(map(public_key, keys)))
            case ev.Hits(count=count):
                each.counts.hits += count
            case ev.KeysRead(keys=keys):
                each.read(map(public_key, keys))
            case ev.LateHit(key=key):
                each.late_hit(public_key(key))
            case ev.Joined(key=stored):
                key = public_key(stored)
                foreseen = predicted_by.keys.was_predicted(key)
                why = "joined another reader's load"
                each.missed(key, predicted=foreseen, joined=True, reason=why)
            case ev.Miss(key=key, predicted=foreseen, reason=reason):
                why = reason or ("" if foreseen else "not_predicted")
                each.missed(public_key(key), predicted=foreseen, joined=False, reason=why)
            case ev.DemandLoaded(key=key, tokens=tokens, load_s=load_s):
                each.demand_loaded(public_key(key), tokens, load_s)
            case ev.ServedStale():
                each.counts.stale_served += 1
            case ev.P0NotResident():
                each.counts.p0_not_resident += 1
            case _:
                assert_never(event)

    def _in_range(self, event: ev.SessionEvent) -> ev.SessionEvent:
        """The event with numbers that can be added up."""
        match event:
            case ev.BudgetGranted(tokens=tokens):
                return evolve(event, tokens=self._ledger.whole(tokens))
            case ev.Hits(count=count):
                return evolve(event, count=self._ledger.whole(count))
            case ev.DemandLoaded(tokens=tokens, load_s=load_s):
                tokens, load_s = self._ledger.whole(tokens), self._ledger.seconds(load_s)
                return evolve(event, tokens=tokens, load_s=load_s)
            case _:
                return event

    def _start(self, event: ev.PrefetchStarted) -> Account | None:
        account = self._sessions.of(event.session)
        key = public_key(event.key)
        predicted = event.cause is Cause.PREDICTION or account.keys.was_predicted(key)
        loaded = event.loaded
        tokens = self._ledger.whole(event.tokens if loaded is None else loaded)
        load_s = None if loaded is None else self._ledger.seconds(event.load_s)
        prefetch = Prefetch(event.id, key, account, event.cause, predicted, tokens, load_s)
        if not self._ledger.start(prefetch):
            return None
        account.started(prefetch)
        self._sessions.total.started(prefetch)
        reported = self._ledger.reported_early(event.id)
        for early in reported:
            self._apply(early)
        overdue = self._ledger.overdue()
        if overdue is not None:
            self._ledger.anomalies[Anomaly.NEVER_ENDED] += 1
            self._end(ev.PrefetchWasted(overdue.id, "never_ended"), Ending.WASTED)
        # No alert judges what has only begun.
        return account if reported or overdue is not None else None

    def _loaded(self, event: ev.PrefetchLoaded) -> Account | None:
        """Put the real size in place of the estimate, also where the ending came first."""
        prefetch = self._ledger.loaded(event)
        if prefetch is None:
            return None
        tokens = self._ledger.whole(event.tokens)
        more, prefetch.tokens = tokens - prefetch.tokens, tokens
        prefetch.load_s = self._ledger.seconds(event.load_s)
        prefetch.account.loaded(prefetch, more)
        self._sessions.total.loaded(prefetch, more)
        if prefetch.ending is Ending.USED:
            self._credit(prefetch)
        return prefetch.account if prefetch.ending is not None else None

    def _use(self, event: ev.PrefetchUsed) -> Account | None:
        prefetch = self._ledger.end(event, Ending.USED)
        if prefetch is None:
            return None
        prefetch.waited_s = self._ledger.seconds(event.waited_s)
        prefetch.used_on = self._today
        for each in (prefetch.account, self._sessions.total):
            each.ended_as(prefetch, "")
        reader = self._sessions.find(event.session)
        if reader is not None and reader is not prefetch.account:
            reader.read((prefetch.key,))
        if prefetch.load_s is not None:
            self._credit(prefetch)
        return prefetch.account

    def _credit(self, prefetch: Prefetch) -> None:
        for each in (prefetch.account, self._sessions.total):
            each.counts.save_time(prefetch.saved_s, prefetch.used_on)

    def _end(
        self, event: ev.PrefetchWasted | ev.PrefetchCancelled | ev.PrefetchFailed, ending: Ending
    ) -> Account | None:
        prefetch = self._ledger.end(event, ending)
        if prefetch is None:
            return None
        cause = None
        if ending is Ending.CANCELLED:
            cause = RemovalCause.CANCELLED
        elif event.reason == Reason.SESSION_ENDED:
            cause = RemovalCause.SESSION_ENDED
        for each in (prefetch.account, self._sessions.total):
            each.ended_as(prefetch, event.reason)
            if cause is not None:
                bump(each.counts.removals, str(cause))
        return prefetch.account

    def _removed(self, event: ev.EntryRemoved) -> Account | None:
        bump(self._sessions.total.counts.removals, str(event.cause))
        account = self._sessions.find(event.session) if event.session else None
        if account is not None:
            bump(account.counts.removals, str(event.cause))
        return account

    def _dropped(self, what: str, count: int) -> None:
        dropped = self._sessions.total.counts.dropped
        bump(dropped, what if what in dropped or len(dropped) < MAX_NAMES else OTHER, count)

    # ---- out ---------------------------------------------------------------------------------

    def snapshot(self, session: str | None = None, *, today: int | None = None) -> Snapshot:
        """The figures of a session, all zero where it is not known; None: of the whole engine.

        Args:
            session: The session's id.
            today: Ordinal of the local calendar day; None: that of the last event.
        """
        whole = session is None
        account = self._sessions.total if session is None else self._sessions.find(session)
        if account is None:
            account = Account(session or "", self._rules.list_limit)
        counts = account.counts
        count, tokens = self._ledger.open(None if whole else counts)
        day = self._today if today is None else today
        return Snapshot(
            session=session,
            counts=counts.copy(),
            open=count,
            open_tokens=tokens,
            outcomes={verdict: account.keys.latest(verdict) for verdict in Verdict},
            predictions=account.keys.predictions(),
            skills=account.skills.all(),
            alerts=breaches(counts, self._rules),
            targets=targets(counts, self._rules),
            saved_today_s=counts.days.get(day, 0.0),
            ended=account.ended,
            project=account.project,
            user=account.user,
            engine=self._engine_figures() if whole else None,
            learned=self._learned if whole else None,
        )

    def report(self, session: str | None = None, *, today: int | None = None) -> Report:
        """The specification's report of a session; None: of the whole engine."""
        return Report(self.snapshot(session, today=today))

    def sessions(self) -> tuple[str, ...]:
        """Every session with figures of its own; ended ones first, the oldest first."""
        return tuple(account.session for account in self._sessions)

    def alerts(self) -> Mapping[str, tuple[Breach, ...]]:
        """The alerts that stand, by session; only sessions with one."""
        return self._alerts.standing()

    def sizes(self) -> tuple[int, ...]:
        """Lengths of what is kept: sessions live and kept; prefetches open, ended lately and
        reported early; the lists, skills and names of the total.
        """
        total = self._sessions.total
        lists = (*total.keys.sizes(), len(total.skills), len(total.counts.dropped))
        return (*self._sessions.sizes(), *self._ledger.sizes(), *lists)

    def check(self) -> tuple[str, ...]:
        """What does not add up, a line for each fault; empty where all does."""
        return audit(self._sessions, self._ledger)

    def _engine_figures(self) -> EngineFigures:
        live, kept = self._sessions.sizes()
        return EngineFigures(
            sessions_live=live,
            sessions_kept=kept,
            sessions_forgotten=self._sessions.forgotten_sessions,
            sessions_alerting=len(self._alerts.standing()),
            dropped=dict(self._sessions.total.counts.dropped),
            anomalies={str(name): count for name, count in self._ledger.anomalies.items()},
        )
