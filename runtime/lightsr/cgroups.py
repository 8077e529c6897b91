"""Control groups of this process: where Linux says what a container may use."""

from collections.abc import Iterator
from pathlib import Path

from lightsr.processor import SYSTEM, file_text


def folders(controller: str, system: Path = SYSTEM) -> Iterator[tuple[int, Path]]:
    """Folders of the groups that limit this process, its own and those above it.

    Parameters
    ----------
    controller : str
        "cpu" or "memory".
    system : Path
        Root below which /proc and /sys are found.

    Yields
    ------
    version : int
        1 or 2, of the hierarchy.
    folder : Path
        It need not be there: in a container the group is the root of what can be seen, under the
        name that it has on the host.
    """
    for line in file_text(system / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        named = controllers.split(",")
        if number == "0" and not controllers:
            version, homes = 2, ["sys/fs/cgroup", "sys/fs/cgroup/unified"]
        elif controller in named:
            # The folder has the name of one controller or of all that share it, in the kernel's order.
            version, homes = 1, [f"sys/fs/cgroup/{name}" for name in dict.fromkeys((controller, controllers))]
            if controller == "cpu" and len(named) == 1:
                homes.append("sys/fs/cgroup/cpu,cpuacct")
        else:
            continue
        parts = [part for part in group.split("/") if part not in ("", ".", "..")]
        for home in homes:
            for depth in range(len(parts) + 1):
                yield version, (system / home).joinpath(*parts[:depth])
