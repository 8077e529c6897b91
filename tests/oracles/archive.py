"""Orthanc: an archive of its own, started for a test on this machine and thrown away after it.

It never touches an installed service: configuration, ports and storage are temporary, it takes no
DICOM associations, and requests from this machine alone.
"""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import tools

PROGRAM = "Orthanc"

PLUGIN = "libOrthancDicomWeb.so"

PLUGIN_FOLDERS = (
    Path("/usr/share/orthanc/plugins"),
    Path("/usr/lib/orthanc"),
    Path("/usr/local/share/orthanc/plugins"),
)

STARTS_WITHIN_S = 60

DICOMWEB = "/dicom-web"


@dataclass(frozen=True)
class Archive:
    """A running Orthanc.

    Parameters
    ----------
    port : int
        Where it answers, on the loopback address.
    dicomweb : bool
        Whether it has QIDO-RS and WADO-RS.
    """

    port: int
    dicomweb: bool

    def request(self, path: str, content: bytes | None = None, **headers: str) -> tuple[int, bytes, str]:
        """Status, content and its type of what `path` gives, or of what posting `content` gives."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            method = "GET" if content is None else "POST"
            connection.request(
                method, path, content, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers.get("Content-Type", "")
        finally:
            connection.close()

    def json(self, path: str, **headers: str) -> Any:
        """What the archive says at `path`."""
        status, content, _ = self.request(path, **headers)
        assert status == 200, f"{path}: status {status}"
        return json.loads(content)

    def store(self, path: Path) -> dict[str, str]:
        """Put a file into the archive by its REST API; what it says about it."""
        status, content, _ = self.request("/instances", path.read_bytes())
        assert status == 200, f"{path.name}: status {status}"
        said: dict[str, str] = json.loads(content)
        return said

    def parts(self, path: str, kind: str) -> list[bytes]:
        """Parts of a WADO-RS answer, in whatever transfer syntax they are stored (PS3.18, 8.7.3)."""
        accept = f'multipart/related; type="{kind}"; transfer-syntax=*'
        status, content, said = self.request(DICOMWEB + path, Accept=accept)
        assert status == 200, f"{path}: status {status}"
        boundary = re.search(r'boundary="?([^";]+)', said)
        assert boundary, said
        return parts_of(content, boundary[1])


def parts_of(content: bytes, boundary: str) -> list[bytes]:
    """What stands between the boundaries of a multipart answer, without its heads; to the byte."""
    pieces = (b"\r\n" + content).split(b"\r\n--" + boundary.encode())
    return [piece.split(b"\r\n\r\n", 1)[1] for piece in pieces[1:-1]]


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Archive]:
    """An empty archive that keeps what it is given in `folder`; skips where there is no Orthanc."""
    tools.need(PROGRAM)
    plugin = next((home / PLUGIN for home in PLUGIN_FOLDERS if (home / PLUGIN).is_file()), None)
    port = _free_port()
    configuration = {
        "Name": "oracle",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],  # known since 1.12; before, others are refused instead
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "OverwriteInstances": False,
        "Plugins": [str(plugin)] if plugin else [],
        "DicomWeb": {"Enable": True, "Root": f"{DICOMWEB}/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([tools.find(PROGRAM), str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        archive = Archive(port, plugin is not None)
        _wait_for(archive, process)
        yield archive
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(archive: Archive, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Orthanc ended with status {process.returncode}"
        with contextlib.suppress(OSError, AssertionError):
            archive.json("/system")
            return
        time.sleep(0.2)
    raise AssertionError(f"Orthanc does not answer within {STARTS_WITHIN_S} s")
