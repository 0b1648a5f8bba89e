"""What those have in common that follow the CacheLayer in a thread of their own."""

import threading


class FollowerThread:
    """A daemon thread that is woken when there is work, and ended with the engine.

    A subclass's `_run` goes on until `_ending` is set, and waits for `_work`.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._work = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> tuple[str, ...]:
        """Finish and end. To be called when nothing follows any more.

        Returns:
            The name of its thread, where that has not ended within `timeout` real seconds.
        """
        self._ending.set()
        self._work.set()
        if self._thread.ident is None:
            return ()
        self._thread.join(timeout)
        return (self._thread.name,) if self._thread.is_alive() else ()

    def _run(self) -> None:
        raise NotImplementedError
