"""What files are called that hold something else."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image as PillowImage

from .making import Broken, fixed
from .npys import content_of
from .rasters import GREY, a_png
from .tiffs import DATA, PAGE, a_tiff

SUFFIXES = (".png", ".jpg", ".tif", ".nii", ".nii.gz", ".npy", ".dcm")


def _pillow(kind: str) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        PillowImage.fromarray(GREY).save(buffer, format=kind)
        return buffer.getvalue()

    return make


def _zip_bomb() -> bytes:
    """A ZIP of 300 MiB of zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.npy", bytes(300 << 20))
    return buffer.getvalue()


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, np.zeros((99, 99), np.uint8))
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("a.nii")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"12345"))
    return buffer.getvalue()


def _gzip_bomb() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(300)), packer.flush()])


NEITHER: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (fixed(b""), ".png"),
    "one byte": (fixed(b"\0"), ".tif"),
    "one byte of the signature": (fixed(b"\x89"), ".png"),
    "text": (fixed(b"Doe^Jane, 1950\r\n" * 9), ".dcm"),
    "a page of the web": (fixed(b"<!DOCTYPE html><title>404</title>"), ".jpg"),
    "a pointer of Git LFS": (fixed(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"), ".nii.gz"),
    "a PDF": (fixed(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), ".tif"),
    "a program": (fixed(b"\x7fELF\2\1\1" + bytes(99)), ".png"),
    "a script": (fixed(b"#!/bin/sh\nrm -rf ~\n"), ".nii"),
    "a pickle": (fixed(b"\x80\x04cos\nsystem\n(S'true'\ntR."), ".npy"),
    "a BMP": (_pillow("BMP"), ".png"),
    "a GIF": (_pillow("GIF"), ".png"),
    "a WebP": (_pillow("WEBP"), ".jpg"),
    "a JPEG 2000": (_pillow("JPEG2000"), ".jpg"),
    "a PPM": (_pillow("PPM"), ".tif"),
    "a header of Analyze": (fixed(struct.pack("<i", 348) + bytes(344)), ".nii"),
    "gzip of text": (fixed(gzip.compress(b"text" * 99, mtime=0)), ".nii.gz"),
    "gzip of a PNG": (lambda: gzip.compress(a_png(), mtime=0), ".nii.gz"),
    "a gzip bomb": (_gzip_bomb, ".nii.gz"),
    "a tar.gz": (_tar, ".nii.gz"),
    "zeros": (fixed(bytes(5000)), ".dcm"),
    "ones": (fixed(b"\xff" * 5000), ".jpg"),
    "UTF-16": (fixed("text".encode("utf-16")), ".png"),
}
"""What is of no format, and the name that it bears here."""

FOREIGN: dict[str, Broken] = {
    **{
        f"{what} called {suffix}": Broken(make, "an empty file" if what == "nothing" else "neither PNG", suffix)
        for what, (make, suffix) in NEITHER.items()
    },
    **{f"an empty file called {suffix}": Broken(fixed(b""), "an empty file", suffix) for suffix in SUFFIXES},
    "a zip bomb called .npz": Broken(_zip_bomb, "a ZIP archive", ".npz"),
    "an .npz called .npy": Broken(_npz, "a ZIP archive", ".npy"),
    "a hole called .tif": Broken(fixed(b""), "neither PNG", ".tif", 9 << 30),
}
FOREIGN.pop("nothing called .png")

NAMED: dict[str, Callable[[], bytes]] = {
    ".png": lambda: a_tiff(PAGE, DATA),
    ".jpg": a_png,
    ".tif": lambda: content_of(GREY),
    ".nii": a_png,
    ".npy": a_png,
}
"""Pictures under the name of another format: a result is of its source's format, under its source's name."""
