"""What lightsr runs on: versions and processor, for reports of errors."""

from importlib import metadata

import lightsr
from lightsr import processor

PACKAGES = ("onnxruntime", "numpy", "pydicom")
"""What a result may depend on besides lightsr and the model."""


def versions() -> dict[str, str]:
    """Version of lightsr and of each of `PACKAGES`, "not installed" where there is none.

    onnxruntime is asked itself, since it comes under several package names.
    """
    found = {"lightsr": lightsr.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    try:
        import onnxruntime

        found["onnxruntime"] = onnxruntime.__version__
    except ImportError:
        pass
    return found


def lines() -> list[str]:
    """Versions and processor, a line each.

    >>> lines()[0] == f"lightsr {lightsr.__version__}"
    True
    """
    cpu = processor.describe()
    features = f" ({', '.join(cpu.features)})" if cpu.features else ""
    return [
        *(f"{name} {version}" for name, version in versions().items()),
        f"CPU {cpu.name}, {cpu.architecture}{features}",
    ]
