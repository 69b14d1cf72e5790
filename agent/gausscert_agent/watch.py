"""Tells whoever watches a node what happens there. A slow watcher loses the oldest events, and never
holds up the node."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from gausscert_common.errors import NodeRefusal, Reason

from gausscert_agent.admission import WATCHERS

if TYPE_CHECKING:
    from types import TracebackType

    from gausscert_common.model import WatchEvent

EVENTS_KEPT: Final = 64
"""Per watcher; a transaction has some twenty."""


class Subscription:
    """One watcher. Close it, or use it as a context manager."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._events: deque[WatchEvent] = deque(maxlen=EVENTS_KEPT)
        self._changed = threading.Condition()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether no more events will come."""
        return self._closed

    def get(self, timeout_s: float) -> WatchEvent | None:
        """The next event, or None after so many seconds without one or once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed, timeout_s)
            return self._events.popleft() if self._events else None

    def put(self, event: WatchEvent) -> None:
        """Hand in an event; the oldest goes when there are too many."""
        with self._changed:
            self._events.append(event)
            self._changed.notify()

    def close(self) -> None:
        """Watch no more; wakes up whoever waits in `get`."""
        self._hub.forget(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Hub:
    """Hands every event to every watcher."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._latest: WatchEvent | None = None

    def subscribe(self) -> Subscription:
        """Watch from now on, beginning with what the node was last said to be about: it may be about it for
        minutes.

        Raises:
            NodeRefusal: BUSY; there are too many watchers.
        """
        with self._lock:
            if len(self._subscriptions) >= WATCHERS:
                raise NodeRefusal(Reason.BUSY, f"{WATCHERS} others watch this node already")
            subscription = Subscription(self)
            self._subscriptions.append(subscription)
            if self._latest is not None:
                subscription.put(self._latest)
            return subscription

    def forget(self, subscription: Subscription) -> None:
        """Hand nothing more to a watcher; harmless to repeat."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def publish(self, event: WatchEvent) -> None:
        """Tell every watcher."""
        with self._lock:
            if event.activity:
                self._latest = event
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.put(event)

    def close(self) -> None:
        """End every watch."""
        with self._lock:
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()
