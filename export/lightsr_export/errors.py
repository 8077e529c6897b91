"""What the exporter raises on purpose."""

from lightsr.errors import LightsrError


class ExportError(LightsrError):
    """An export that could not be proven right; nothing was written."""


class IntegerFormError(ExportError):
    """A graph between whose stem and tail lies what onnxruntime has no integers for."""


class GoldenError(ExportError):
    """An int8 model for which no self-test holds on all processors."""
