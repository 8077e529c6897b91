"""Uncompressed frames of a DICOM file, each read by itself, or by some of its rows."""

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from lightsr.elements import PixelElement
from lightsr.errors import ImageError
from lightsr.gate import Contents
from lightsr.pixels import PixelDescription, words_of


@dataclass(frozen=True)
class Native:
    """Pixel Data without compression (PS3.5, 8).

    Parameters
    ----------
    contents : Contents
    offset : int
        Of the first frame.
    description : PixelDescription
    """

    contents: Contents
    offset: int
    description: PixelDescription

    @classmethod
    def of(cls, contents: Contents, pixels: PixelElement, of: PixelDescription) -> "Native":
        """Pixel Data whose length is exactly what the header needs (PS3.5, 8.1.1).

        Raises
        ------
        ImageError
            It is not, or its bytes can be read in two ways.
        """
        path, needed, little = contents.path, of.frames * of.frame_bytes, contents.syntax.little
        if pixels.length is None and contents.bare:
            raise ImageError(
                f"{path}: compressed pixels, and no file meta information that says how; decompress it first"
            )
        if pixels.length is None:
            raise ImageError(f"{path}: uncompressed pixels of unknown length; it is damaged")
        if pixels.length not in (needed, needed + needed % 2):
            raise ImageError(f"{path}: {pixels.length} bytes of pixels; its size needs {needed}; it is damaged")
        if not little and of.allocated == 8 and pixels.vr == "OW":
            raise ImageError(f"{path}: big-endian 8-bit pixels in 16-bit words; little-endian is allowed")
        halved = of.photometric == "YBR_FULL_422" and not of.columns % 2 and not of.by_plane
        if of.photometric.startswith("YBR") and of.photometric != "YBR_FULL" and not halved:
            raise ImageError(f"{path}: uncompressed {of.photometric} of {of.columns} columns, which cannot be")
        return cls(contents, pixels.offset, of)

    def __call__(self, index: int) -> NDArray[Any]:
        """Words of a frame, counted from 0, shape `description.shape`, uint8 or uint16."""
        return self.rows(index, 0, self.description.rows)

    def rows(self, index: int, top: int, bottom: int) -> NDArray[Any]:
        """Words of the rows [top, bottom) of a frame, shape (bottom - top, columns[, 3]), uint8 or uint16.

        Raises
        ------
        ImageError
            The file ends before.
        """
        of, stream = self.description, self.contents.stream
        planes = 3 if of.by_plane else 1
        plane_bytes = of.frame_bytes // planes
        row_bytes = plane_bytes // of.rows
        content = bytearray()
        for plane in range(planes):
            stream.seek(self.offset + index * of.frame_bytes + plane * plane_bytes + top * row_bytes)
            content += stream.read((bottom - top) * row_bytes)
        if len(content) != planes * (bottom - top) * row_bytes:
            raise ImageError(f"{self.contents.path}: became shorter while it was read")
        return words_of(bytes(content), replace(of, rows=bottom - top), little=self.contents.syntax.little)
