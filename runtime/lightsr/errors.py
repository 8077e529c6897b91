"""Everything that lightsr raises on purpose."""


def install(extra: str) -> str:
    """Command that installs what training, export or benchmarks need, from a release or from the sources."""
    return f"pip install 'lightsr[{extra}]', or '.[{extra}]' in the folder of the sources"


class LightsrError(Exception):
    """A problem that the person who called can act on; the message is one line.

    It says what was found, what is allowed and what to do, and holds no
    attribute value of a patient's.

    Parameters
    ----------
    message : str
    reason : str, optional
        Word for programs, which stays when the message is worded anew; by default that of the class.
    """

    reason = "error"

    def __init__(self, message: str = "", *, reason: str = "") -> None:
        super().__init__(message)
        if reason:
            self.reason = reason


class ImageError(LightsrError):
    """An image that cannot be read, or is refused because its meaning would be lost."""

    reason = "image"


class PackageError(ImageError):
    """An image for which an optional package is not installed; nothing is wrong with it."""

    reason = "package"


class ChangedError(ImageError):
    """An image that somebody wrote to while it was read; whole, it may be a good one."""

    reason = "changed"


class MemoryLimitError(ImageError):
    """An image that needs more memory than is allowed.

    Parameters
    ----------
    message : str
    allowed, needed : int
        Bytes.
    """

    reason = "memory"

    def __init__(self, message: str, *, allowed: int, needed: int) -> None:
        super().__init__(message)
        self.allowed, self.needed = allowed, needed


class ModelError(LightsrError):
    """A model file that is missing, damaged, unsafe or not a lightsr model."""

    reason = "model"


class SelfTestError(ModelError):
    """A model that does not give on this machine what it gave when it was exported."""


class OutputError(LightsrError):
    """An output that cannot be written, or would overwrite something."""

    reason = "output"
