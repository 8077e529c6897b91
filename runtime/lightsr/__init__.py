"""lightsr: medical super-resolution on small devices.

>>> import lightsr
>>> upscaler = lightsr.load("tiny", scale=2)
>>> upscaler.scale
2
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would be a third of what `import lightsr` costs
    from typing import Any

    from lightsr.bands import Tally as Tally
    from lightsr.card import ModelCard as ModelCard
    from lightsr.errors import ImageError as ImageError
    from lightsr.errors import LightsrError as LightsrError
    from lightsr.errors import ModelError as ModelError
    from lightsr.errors import OutputError as OutputError
    from lightsr.errors import SelfTestError as SelfTestError
    from lightsr.intensity import IntensityMap as IntensityMap
    from lightsr.upscaler import Upscaler as Upscaler
    from lightsr.upscaler import load as load

__version__ = "0.1.0"

# onnxruntime from 1.29 on sends usage data, names of model files among them, to its maker, and leaves
# an identifier in the home folder, unless this is set before it is imported. Nothing leaves the device.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_HOMES = {
    "ImageError": "errors",
    "IntensityMap": "intensity",
    "LightsrError": "errors",
    "ModelCard": "card",
    "ModelError": "errors",
    "OutputError": "errors",
    "SelfTestError": "errors",
    "Tally": "bands",
    "Upscaler": "upscaler",
    "load": "upscaler",
}

__all__ = [*_HOMES, "__version__"]


if not TYPE_CHECKING:  # which would take every name for one that exists

    def __getattr__(name: str) -> Any:
        """Import a public name on its first use: `import lightsr` alone costs no numpy and no onnxruntime."""
        if name not in _HOMES:
            raise AttributeError(f"module 'lightsr' has no attribute '{name}'")
        import importlib

        return getattr(importlib.import_module(f"lightsr.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Public names, be they imported yet or not."""
    return sorted({*globals(), *__all__})
