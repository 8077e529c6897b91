"""Batches that are drawn before they are wanted."""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from lightsr_train import workers
from lightsr_train.patches import PatchSampler

Tensors = tuple[Tensor, ...]
"""Those of a `patches.Batch`, in its order."""


class Ahead:
    """Draws the batches of the next steps while the current step is computed.

    A thread is one batch ahead, which is enough on a CPU. A GPU would wait for it;
    processes are further ahead, and take nothing of this one's time. Batches are the same.

    Parameters
    ----------
    sampler : PatchSampler
    first, every : int
        Part of each batch, as `PatchSampler.draw` takes it.
    drawers : int
        Processes that draw; a thread where there are none, or where they are not possible.
    steps : int
        Steps of the run; processes draw none from there on.
    device : torch.device
        Where the batches are wanted.
    """

    def __init__(
        self,
        sampler: PatchSampler,
        *,
        steps: int,
        first: int = 0,
        every: int = 1,
        drawers: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.sampler = sampler
        self.steps = steps
        self.part = {"first": first, "every": every}
        self.drawers = drawers if workers.possible() else 0
        self.device = device or torch.device("cpu")
        self._pool = None if self.drawers else ThreadPoolExecutor(1)
        self._next: tuple[int, Future[Tensors]] | None = None
        self._following: tuple[int, Generator[Tensors, None, None]] | None = None

    def draw(self, step: int) -> Tensors:
        """Batch of a step, on the device; those after it are begun."""
        batch = self._from_thread(step) if self._pool else self._from_processes(step)
        return tuple(part.to(self.device, non_blocking=True) for part in batch)

    def close(self) -> None:
        """End the thread or the processes."""
        if self._following:
            self._following[1].close()
            self._following = None
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _drawn(self, step: int) -> Tensors:
        return tuple(map(torch.from_numpy, self.sampler.draw(step, **self.part)))

    def _shared(self, step: int) -> Tensors:
        """`_drawn`, in memory that this process has, too; a lack of which is told here."""
        return tuple(part.share_memory_() for part in self._drawn(step))  # type: ignore[no-untyped-call]

    def _from_thread(self, step: int) -> Tensors:
        assert self._pool is not None
        batch = self._next[1].result() if self._next and self._next[0] == step else self._drawn(step)
        self._next = step + 1, self._pool.submit(self._drawn, step + 1)
        return batch

    def _from_processes(self, step: int) -> Tensors:
        if self._following is None or self._following[0] != step:
            self.close()
            steps = range(step, max(self.steps, step + 1))
            pinned = self.device.type == "cuda"
            self._following = step, workers.in_order(self._shared, steps, self.drawers, pinned=pinned)
        following = self._following[1]
        self._following = step + 1, following
        return next(following)
