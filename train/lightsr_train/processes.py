"""One process or many that train one network together, as `torchrun` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from lightsr.cpus import available_cpus
from torch import distributed

from lightsr_train import workers

TIMEOUT = timedelta(hours=2)
"""Longest wait for another process; reading the images comes first in one of them."""


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Parameters
    ----------
    rank : int
        Number of this one, from 0.
    count : int
    device : torch.device
    readers : int
        Further processes that read images for this one, once.
    drawers : int
        Further processes that draw patches for this one; a thread where there are none.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU
    readers: int = 0
    drawers: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process; all get the same answer."""
        if self.count == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(votes)
        return votes.item() > 0


def usual_readers() -> int:
    """As many as there are CPUs, at most `workers.MOST`."""
    return min(workers.MOST, available_cpus())


@contextmanager
def joined(helpers: int | None = None) -> Iterator[Processes]:
    """The processes that `torchrun` started, over NCCL where each has a GPU, else over Gloo; or this one alone.

    Parameters
    ----------
    helpers : int, optional
        Further processes that read images and draw patches for each. By default as many as there are CPUs, at most
        `workers.MOST`, read; and beside a GPU, which would wait for a thread, as many as there are CPUs to spare draw.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cuda = torch.cuda.device_count() >= here  # one for each process here
    spare = max(0, available_cpus() // here - 1) if cuda else 0
    usual = usual_readers(), min(workers.MOST, spare)
    readers, drawers = usual if helpers is None else (helpers, helpers)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if count == 1:
        yield Processes(device=device, readers=readers, drawers=drawers)
        return
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(distributed.get_rank(), count, device, readers, drawers)
    finally:
        distributed.destroy_process_group()
