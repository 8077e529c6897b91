import re
from importlib import metadata

import lightsr
import numpy as np
import onnxruntime
import pydicom
import pytest
from lightsr import machine


def test_versions_are_those_that_run() -> None:
    assert machine.versions() == {
        "lightsr": lightsr.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "pydicom": pydicom.__version__,
    }


def test_onnxruntime_under_another_package_name(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without(name: str) -> str:
        if name in ("onnxruntime", "pydicom"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    found = machine.versions()
    assert found["onnxruntime"] == onnxruntime.__version__
    assert found["pydicom"] == "not installed"


def test_the_processor_is_named_last() -> None:
    *_, last = machine.lines()
    assert re.fullmatch(r"CPU .+, \w+( \(.+\))?", last)
