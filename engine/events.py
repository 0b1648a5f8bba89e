"""Events that a host passes to `trigger`, each acting on the session it is triggered for."""

from attrs import field

from prefetch_scheduler.policies.values import frozen


def _text(instance: object, attribute: object, value: str) -> None:
    name = f"{type(instance).__name__}.{getattr(attribute, 'name', '')}"
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a string that is not empty, got {value!r}")


def _plain(value: str) -> str:
    """A plain `str` of a subclass, whose `__hash__` or `__eq__` may fail in the actors."""
    return str.__str__(value) if isinstance(value, str) else value  # else the validator refuses it


def _plain_or_none(value: str | None) -> str | None:
    return None if value is None else _plain(value)


def _text_or_none(instance: object, attribute: object, value: str | None) -> None:
    if value is not None:
        _text(instance, attribute, value)


@frozen
class SessionStarted:
    """A session begins: pins, configured keys and what was used most before are loaded."""

    project: str | None = field(default=None, converter=_plain_or_none, validator=_text_or_none)
    user: str | None = field(default=None, converter=_plain_or_none, validator=_text_or_none)


@frozen
class SessionEnded:
    """The session is over: its loads are cancelled, its pins released, its unread loads wasted."""


@frozen
class ProjectSwitched:
    """The session turns to another project, whose usual keys are loaded."""

    project: str = field(converter=_plain, validator=_text)


@frozen
class UserLoggedIn:
    """A user is known now: private content is theirs from here on, their usual keys are loaded."""

    user: str = field(converter=_plain, validator=_text)


@frozen
class ContextChanged:
    """The agent turned to something else; the next submit says what is still wanted."""

    context: str = field(converter=_plain, validator=_text)


@frozen
class FileChanged:
    """A file was written. `content`: what it holds now, where the host knows (its own edit)."""

    path: str = field(converter=_plain, validator=_text)
    content: str | bytes | None = None


@frozen
class SkillUpdated:
    """A skill was changed: its body, its metadata and its references are loaded anew."""

    skill_id: str = field(converter=_plain, validator=_text)


@frozen
class HostBusy:
    """The host is busy: no background load starts until `HostIdle`."""


@frozen
class HostIdle:
    """The host has time again."""


TriggerEvent = (
    SessionStarted
    | SessionEnded
    | ProjectSwitched
    | UserLoggedIn
    | ContextChanged
    | FileChanged
    | SkillUpdated
    | HostBusy
    | HostIdle
)
