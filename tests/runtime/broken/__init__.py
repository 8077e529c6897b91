"""A corpus of broken files of every format, made when it is asked for: nothing of it is stored anywhere.

`tests.runtime.attacks` is that of hostile DICOM files.
"""

from .dicoms import DICOM
from .foreign import FOREIGN
from .making import Broken
from .npys import NPY
from .rasters import GOOD as GOOD_RASTERS
from .rasters import JPEG, PNG
from .tiffs import GOOD as GOOD_TIFFS
from .tiffs import TIFF
from .volumes import NIFTI

BROKEN: dict[str, Broken] = {**PNG, **JPEG, **TIFF, **NIFTI, **NPY, **DICOM, **FOREIGN}
"""What is refused."""

GOOD: dict[str, Broken] = {**GOOD_RASTERS, **GOOD_TIFFS}
"""What looks alike, and is a picture."""

assert len(BROKEN) == sum(map(len, (PNG, JPEG, TIFF, NIFTI, NPY, DICOM, FOREIGN)))
