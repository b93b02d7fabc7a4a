"""How much is asked at once: the request budget and the size of a page. Values of time are passed in, in seconds."""

RECOVER_AFTER = 16  # pages that went well before a page grows again


class TokenBucket:
    """`rate` requests a second on average, with a burst of one second's worth."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._tokens = self._burst
        self._at = float("-inf")

    def delay(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        return max(0.0, (1.0 - self._level(now)) / self._rate)

    def take(self, now: float) -> float:
        """Reserve the next request; returns the seconds to wait before it is sent."""
        delay = self.delay(now)
        self._tokens = self._level(now) - 1.0  # below zero while others wait: they queue in the order of asking
        self._at = now
        return delay

    def _level(self, now: float) -> float:
        return min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)


class PageSize:
    """The greatest page that nodes bear at present: halves at once when they do not, grows by half and slowly."""

    def __init__(self, greatest: int) -> None:
        self._greatest = greatest
        self._bearable = greatest
        self._streak = 0

    def of(self, wanted: int) -> int:
        return min(wanted, self._bearable)

    def shrink(self, used: int) -> None:
        self._bearable = max(1, min(self._bearable, used // 2))
        self._streak = 0

    def went_well(self) -> None:
        if self._bearable == self._greatest:
            return
        self._streak += 1
        if self._streak >= RECOVER_AFTER:
            self._streak = 0
            self._bearable = min(self._greatest, self._bearable + max(1, self._bearable // 2))
