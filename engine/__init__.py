"""What a host uses: the engine, its sessions, sources, events, errors and configuration.

The three floors, each importing only from those below it::

    engine     embeds: this API, configuration, sources, adapters, command line
    actors     coordinates: messages, mailboxes, supervision, the five actors and their pools
    policies   decides: values and pure state machines, told the time

A name is imported when it is first asked for (PEP 562): a host pays for what it uses.
"""

import logging
from typing import TYPE_CHECKING

from prefetch_scheduler.engine.lazy import lazy_names

if TYPE_CHECKING:
    from prefetch_scheduler.actors.cancel import CancelToken
    from prefetch_scheduler.engine.config_file import load_config
    from prefetch_scheduler.engine.events import (
        ContextChanged,
        FileChanged,
        HostBusy,
        HostIdle,
        ProjectSwitched,
        SessionEnded,
        SessionStarted,
        SkillUpdated,
        TriggerEvent,
        UserLoggedIn,
    )
    from prefetch_scheduler.engine.facade import PrefetchEngine
    from prefetch_scheduler.engine.handle import PlanHandle
    from prefetch_scheduler.engine.health import Health
    from prefetch_scheduler.engine.observability.snapshot import MetricsSnapshot
    from prefetch_scheduler.engine.session import Session
    from prefetch_scheduler.engine.sources.callables import CallableSource
    from prefetch_scheduler.engine.sources.files import FileSource
    from prefetch_scheduler.engine.sources.protocol import Source
    from prefetch_scheduler.engine.sources.skills import SkillSource
    from prefetch_scheduler.policies.alerts import AlertCleared, AlertRaised
    from prefetch_scheduler.policies.config import Config
    from prefetch_scheduler.policies.content import Content
    from prefetch_scheduler.policies.errors import (
        ConfigError,
        EngineDegraded,
        EngineFailed,
        EngineStopped,
        InvalidPrediction,
        LoadTimeout,
        PrefetchError,
        ResourceUnavailable,
        UnknownKind,
    )
    from prefetch_scheduler.policies.plan import Plan, PlanItem
    from prefetch_scheduler.policies.planner_events import (
        ContextSwitched,
        ResourceEvicted,
        ResourceFailed,
        ResourceLoaded,
    )
    from prefetch_scheduler.policies.prediction import Constraints, FollowUp, Prediction
    from prefetch_scheduler.policies.report import Report
    from prefetch_scheduler.policies.vocabulary import (
        Lane,
        Layer,
        Mode,
        Priority,
        Reason,
        Relation,
        Role,
        Urgency,
    )
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "actors.cancel": "CancelToken",
            "engine.config_file": "load_config",
            "engine.events": (
                "ContextChanged FileChanged HostBusy HostIdle ProjectSwitched SessionEnded "
                "SessionStarted SkillUpdated TriggerEvent UserLoggedIn"
            ),
            "engine.facade": "PrefetchEngine",
            "engine.handle": "PlanHandle",
            "engine.health": "Health",
            "engine.observability.snapshot": "MetricsSnapshot",
            "engine.session": "Session",
            "engine.sources.callables": "CallableSource",
            "engine.sources.files": "FileSource",
            "engine.sources.protocol": "Source",
            "engine.sources.skills": "SkillSource",
            "policies.alerts": "AlertCleared AlertRaised",
            "policies.config": "Config",
            "policies.content": "Content",
            "policies.errors": (
                "ConfigError EngineDegraded EngineFailed EngineStopped InvalidPrediction "
                "LoadTimeout PrefetchError ResourceUnavailable UnknownKind"
            ),
            "policies.plan": "Plan PlanItem",
            "policies.planner_events": (
                "ContextSwitched ResourceEvicted ResourceFailed ResourceLoaded"
            ),
            "policies.prediction": "Constraints FollowUp Prediction",
            "policies.report": "Report",
            "policies.vocabulary": "Lane Layer Mode Priority Reason Relation Role Urgency",
        },
    )

# A library is silent until its host configures logging.
logging.getLogger("prefetch_scheduler").addHandler(logging.NullHandler())

__all__ = [
    "AlertCleared",
    "AlertRaised",
    "CallableSource",
    "CancelToken",
    "Config",
    "ConfigError",
    "Constraints",
    "Content",
    "ContextChanged",
    "ContextSwitched",
    "EngineDegraded",
    "EngineFailed",
    "EngineStopped",
    "FileChanged",
    "FileSource",
    "FollowUp",
    "Health",
    "HostBusy",
    "HostIdle",
    "InvalidPrediction",
    "Lane",
    "Layer",
    "LoadTimeout",
    "MetricsSnapshot",
    "Mode",
    "Plan",
    "PlanHandle",
    "PlanItem",
    "Prediction",
    "PrefetchEngine",
    "PrefetchError",
    "Priority",
    "ProjectSwitched",
    "Reason",
    "Relation",
    "Report",
    "ResourceEvicted",
    "ResourceFailed",
    "ResourceLoaded",
    "ResourceUnavailable",
    "Role",
    "Session",
    "SessionEnded",
    "SessionStarted",
    "SkillSource",
    "SkillUpdated",
    "Source",
    "TriggerEvent",
    "UnknownKind",
    "Urgency",
    "UserLoggedIn",
    "load_config",
]


def __dir__() -> list[str]:
    return __all__
