"""HAProxy's `leastconn`: which server with room comes next."""

from __future__ import annotations


class Room:
    """The servers that are sent requests and work on fewer than `workers`, by how many they have.

    Of those with the fewest, the one that has had this number the longest is first, as in HAProxy,
    where a server whose number changes goes to the end of its equals (`fwlc_srv_reposition`).
    """

    __slots__ = ("_by_busy", "_occupied")

    def __init__(self, workers: int) -> None:
        # Dictionaries keep the order of insertion, so the first key came first. The last one holds
        # the servers without room, and is never looked at.
        self._by_busy: list[dict[int, None]] = [{} for _ in range(workers + 1)]
        # Bit n is set when some server has n requests, so that the lowest is found at once.
        self._occupied = 0

    def add(self, slot: int, busy: int) -> None:
        self._by_busy[busy][slot] = None
        self._occupied |= 1 << busy

    def remove(self, slot: int, busy: int) -> None:
        servers = self._by_busy[busy]
        del servers[slot]
        if not servers:
            self._occupied ^= 1 << busy

    def move(self, slot: int, before: int, after: int) -> None:
        """The server had `before` requests and has `after`."""
        servers = self._by_busy[before]
        del servers[slot]
        if not servers:
            self._occupied ^= 1 << before
        self._by_busy[after][slot] = None
        self._occupied |= 1 << after

    def first(self, avoid: int = 0) -> int:
        """The slot that the next request goes to, `avoid` only if no other has room; 0: none."""
        occupied = self._occupied
        if not occupied:
            return 0
        if avoid:
            return self._first_other(avoid)
        busy = (occupied & -occupied).bit_length() - 1
        return next(iter(self._by_busy[busy])) if busy < len(self._by_busy) - 1 else 0

    def _first_other(self, avoid: int) -> int:
        with_room = [slot for servers in self._by_busy[:-1] for slot in servers]
        others = (slot for slot in with_room if slot != avoid)
        return next(others, avoid if avoid in with_room else 0)
