"""One call to the forge for what is asked for several times at once: Alertmanager repeats what takes long."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from pipelines.operations.notification import Request
from pipelines.operations.trigger import Forge


class Handover:
    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], Future[None]] = {}

    def start(self, request: Request) -> bool:
        """Ask the forge, or wait for whoever asks it the same already; return whether this call did it.

        Raises ForgeError to all of them when the forge did not take it.
        """
        key = (request.environment, request.release)
        with self._lock:
            running = self._running.get(key)
            mine = self._running[key] = running or Future()
        if running:
            running.result()
            return False
        try:
            self._forge.start(request)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(None)
        finally:
            with self._lock:
                del self._running[key]
        return True
