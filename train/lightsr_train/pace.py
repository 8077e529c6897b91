"""How fast a run goes."""

import time


class Pace:
    """Steps a second, and the share of the time spent waiting, between two reports."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.waited = 0.0
        self.go_on()

    def lap(self, step: int) -> tuple[float, float, float, float]:
        """Steps per second, waiting share, seconds since the last lap, and those this process was on a processor."""
        spent = max(time.perf_counter() - self.since, 1e-9)
        worked = time.process_time() - self.worked_since
        found = max(step - self.step, 1) / spent, min(1.0, self.waited / spent), spent, worked
        self.step, self.waited = step, 0.0
        self.go_on()
        return found

    def go_on(self) -> None:
        """Leave out the time since the lap."""
        self.since, self.worked_since = time.perf_counter(), time.process_time()
