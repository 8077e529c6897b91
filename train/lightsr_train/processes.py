"""One process or many that train one network together, as `torchrun` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

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
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

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


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that `torchrun` started, over NCCL where each has a GPU, else over Gloo; or this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # one for each process here
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if count == 1:
        yield Processes(device=device)
        return
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()
