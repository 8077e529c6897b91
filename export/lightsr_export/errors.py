"""What the exporter raises on purpose."""

from lightsr.errors import LightsrError


class ExportError(LightsrError):
    """An export that could not be proven right; nothing was written."""
