"""What the runtime relies on in Pykka 4.5: a new version that differs must fail here first."""

import inspect
import threading
from importlib.metadata import version

import pykka
import pytest
from pykka import _actor, _ref
from pykka._envelope import Envelope
from pykka.messages import _ActorStop


class Plain(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: object) -> object:
        if isinstance(message, BaseException):
            raise message
        return message


def test_the_pinned_version_is_installed() -> None:
    major, minor = (int(part) for part in version("pykka").split(".")[:2])
    assert major == 4
    assert minor >= 5


def test_an_actor_asks_itself_for_its_inbox_and_keeps_it_in_its_ref() -> None:
    class Own(Plain):
        def _create_actor_inbox(self) -> object:  # type: ignore[override]  # as the runtime does
            return self.given

        def __init__(self, given: object) -> None:
            self.given = given
            super().__init__()

    given = object()
    actor = Own(given)
    assert actor.actor_inbox is given
    assert actor.actor_ref.actor_inbox is given


def test_start_registers_the_actor_and_then_starts_its_loop() -> None:
    seen = []

    class Own(Plain):
        def _start_actor_loop(self) -> None:
            seen.append(pykka.ActorRegistry.get_by_urn(self.actor_urn))

    ref = Own.start()
    assert seen == [ref]
    pykka.ActorRegistry.unregister(ref)


def test_the_loop_is_setup_running_teardown() -> None:
    calls: list[str] = []

    class Own(Plain):
        def _actor_loop_setup(self) -> None:
            calls.append("setup")

        def _actor_loop_running(self) -> None:
            calls.append("running")

        def _actor_loop_teardown(self) -> None:
            calls.append("teardown")

    Own()._actor_loop()
    assert calls == ["setup", "running", "teardown"]


def test_an_inbox_needs_only_put_get_and_empty() -> None:
    members = {n for n in vars(_actor.ActorInbox) if not n.startswith("_")}
    assert members == {"put", "get", "empty"}
    assert Envelope.__slots__ == ["message", "reply_to"]


def test_a_ref_puts_a_bare_envelope_and_stops_with_a_pill() -> None:
    source = inspect.getsource(_ref.ActorRef)
    assert "self.actor_inbox.put(Envelope(message))" in source
    assert "self.ask(_ActorStop(), block=False)" in source
    assert _ActorStop() is not None


def test_unregistering_twice_does_no_harm() -> None:
    ref = Plain.start()
    ref.stop()
    pykka.ActorRegistry.unregister(ref)
    assert not ref.is_alive()


def test_the_stopped_flag_is_shared_by_actor_and_ref() -> None:
    actor = Plain()
    assert actor.actor_ref.actor_stopped is actor.actor_stopped
    assert isinstance(actor.actor_stopped, threading.Event)


def test_a_failed_ask_leaves_a_plain_actor_alive_and_a_failed_tell_kills_it() -> None:
    ref = Plain.start()
    with pytest.raises(ValueError, match="bad"):
        ref.ask(ValueError("bad"))
    assert ref.is_alive()
    ref.tell(ValueError("bad"))
    assert ref.actor_stopped.wait(5)


def test_a_base_exception_in_a_plain_actor_stops_every_actor() -> None:
    """Why the base actor has a guard of its own."""
    bystander, guilty = Plain.start(), Plain.start()
    guilty.tell(SystemExit(1))
    assert bystander.actor_stopped.wait(5)


def test_a_future_is_answered_by_set_and_set_exception() -> None:
    future = pykka.ThreadingFuture[int]()
    error = ValueError("bad")
    future.set_exception((ValueError, error, None))
    with pytest.raises(ValueError, match="bad"):
        future.get(timeout=1)
