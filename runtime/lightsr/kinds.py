"""Which kinds of DICOM files are pictures to be made sharper, and which are refused by name."""

from pathlib import Path
from typing import Any

from lightsr.errors import ImageError
from lightsr.provenance import texts

MAMMOGRAPHY = "MG"
"""Kind, and Modality of images of other kinds, that is read only where it was asked for."""

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.1.2": MAMMOGRAPHY,
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "enhanced MR",
    "1.2.840.10008.5.1.4.1.1.3": "US",
    "1.2.840.10008.5.1.4.1.1.3.1": "US",
    "1.2.840.10008.5.1.4.1.1.6": "US",
    "1.2.840.10008.5.1.4.1.1.6.1": "US",
    "1.2.840.10008.5.1.4.1.1.7": "SC",
    "1.2.840.10008.5.1.4.1.1.7.2": "SC",
    "1.2.840.10008.5.1.4.1.1.7.3": "SC",
    "1.2.840.10008.5.1.4.1.1.7.4": "SC",
    "1.2.840.10008.5.1.4.1.1.12.1": "XA",
}
"""Image storage classes that are understood (PS3.4, B.5), and what they are called."""

ENHANCED = {"enhanced CT": "CT", "enhanced MR": "MR"}
"""Kinds whose frames have functional groups, and what each frame is."""

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR (PS3.10, 8.6)."""

CINE_KINDS = frozenset({"SC", "US", "XA"})
"""Kinds that may have several frames; those of the others would all claim one position in the patient."""

REFUSED_IMAGE_TYPES = {
    "CT": {
        "LOCALIZER": "a localizer",
        "MAT_SPECIFIC": "a multi-energy map",
        "MAT_REMOVED": "a multi-energy map",
        "MAT_FRACTIONAL": "a multi-energy map",
        "MAT_VALUE_BASED": "a multi-energy map",
        "EFF_ATOMIC_NUM": "a multi-energy map",
        "ELECTRON_DENSITY": "a multi-energy map",
    },
    "MR": dict.fromkeys(
        (
            *(
                "R",
                "REAL",
                "I",
                "IMAGINARY",
                "P",
                "PHASE",
                "PHASE MAP",
                "PHASE_MAP",
                "VELOCITY",
                "VELOCITY MAP",
                "VELOCITY_MAP",
            ),
            *("T1 MAP", "T1_MAP", "T2 MAP", "T2_MAP", "T2_STAR_MAP", "R2_MAP", "R2_STAR_MAP", "B0 MAP"),
            *("DIFFUSION MAP", "DIFFUSION_MAP", "ADC", "ADC_MAP", "EADC", "FA", "FA_MAP", "DENSITY MAP", "DENSITY_MAP"),
            *("QMAP", "MULTI_QMAP"),
        ),
        "a phase, complex or quantitative map",
    ),
    MAMMOGRAPHY: {
        "TOMO": "of a tomosynthesis",
        "TOMO_PROJ": "of a tomosynthesis",
        "GENERATED_2D": "computed from a tomosynthesis",
        "ADDITION": "a sum of images",
        "SUBTRACTION": "a difference of images",
        "HIGH_ENERGY": "for a difference of images",
    },
}
"""Image Type values whose pixels are no picture to be made sharper (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1, C.8.11.7.1.4)."""

REFUSED_CONTRASTS = {
    **dict.fromkeys(("ADC", "DIFFUSION_ANISO", "DIFFUSION_ATTNTD", "FA"), "a diffusion map"),
    **dict.fromkeys(("MTT", "RCBF", "RCBV", "TTP", "TMAX", "NEI", "R_COEFFICIENT"), "a perfusion map"),
    **dict.fromkeys(("CBF", "CBV", "RELCBF", "RELCBV", "RELMTT", "CORRELCBV", "PBP", "KTRANS"), "a perfusion map"),
    **dict.fromkeys(("CBF BASIC", "CBV BASIC", "RCBF BASIC", "RCBV BASIC", "RLEAKAGE"), "a perfusion map"),
    **dict.fromkeys(("MTT BASIC", "TTP BASIC", "TMAX BASIC"), "a perfusion map"),
    **dict.fromkeys(("T1_MAP", "T2_MAP", "T2_STAR_MAP", "R1_MAP", "R2_MAP", "R2_STAR_MAP", "RHO"), "a relaxation map"),
    **dict.fromkeys(("METABOLITE_MAP", "FAT_FRACTION", "WATER_FRACTION", "FIELD_MAP", "B0_MAP"), "a quantitative map"),
    **dict.fromkeys(("TEMPERATURE", "TCS", "VELOCITY", "SCM", "SNR_MAP", "QUANTITY"), "a quantitative map"),
    **dict.fromkeys(("T_TEST", "TTEST", "Z_SCORE", "STD_DEVIATION"), "a statistical map"),
    **dict.fromkeys(("SUBTRACTION", "DIVISION", "SUB", "MODULUS SUBTRACT", "PHASE SUBTRACT"), "a difference or ratio"),
    "M_MODE": "one line over time",
}
"""Image Type and Frame Type of what was computed from other CT and MR images (PS3.3 C.8.16.1.4, C.8.13.1.1.1.4,
C.8.3.1.1.1), and scanners' own words for it. Images of one frame that were made of enhanced ones keep their words.
"""

REFUSED_COMPONENTS = frozenset({"PHASE", "REAL", "IMAGINARY"})
"""Values of Complex Image Component whose pixels are parts of a complex number (PS3.3 C.8.13.3.1.2)."""

COLOUR_PRESENTATIONS = frozenset({"COLOR", "COLOR_RANGE", "TRUE_COLOR"})
"""Values of Pixel Presentation that make values of a grey picture colours of a palette (PS3.3 C.8.16.2.1.1)."""

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""Attributes of frames in the enhanced kinds; multi-frame secondary capture may have them too (PS3.3 C.7.6.16)."""

OWN_MODEL_NAME = "lightsr"
"""Manufacturer's Model Name by which our own results are recognised."""


def check(header: Any, path: Path, *, grouped: bool = False, mammography: bool = False) -> str:
    """Refuse what is no picture of the kinds that are understood.

    Parameters
    ----------
    header : pydicom.Dataset
    path : Path
        For messages.
    grouped : bool
        It has functional groups of frames, which `header` may do without.
    mammography : bool
        Whether mammograms are allowed.

    Returns
    -------
    str
        Name of the kind, a value of `SOP_CLASSES`.

    Raises
    ------
    ImageError
    """
    uid = str(header.get("SOPClassUID", ""))
    if uid not in SOP_CLASSES:
        raise refusal(uid, path)
    kind = SOP_CLASSES[uid]
    if not mammography and MAMMOGRAPHY in (kind, str(header.get("Modality", "")).upper()):
        raise ImageError(
            f"{path}: a mammogram, of which no bundled model has seen one; --allow-mammography enlarges it all the same"
        )
    if kind not in CINE_KINDS and kind not in ENHANCED and header.get("NumberOfFrames") not in (None, "", 1):
        raise ImageError(f"{path}: a {kind} image of several frames; one frame is allowed")
    try:
        _check_types(kind, texts(header, "ImageType"))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    if str(header.get("PresentationIntentType", "")).upper() == "FOR PROCESSING":
        raise ImageError(f"{path}: an image for processing; FOR PRESENTATION is allowed")
    if header.get("ModalityLUTSequence"):
        raise ImageError(f"{path}: has a Modality LUT; a rescale slope and intercept are allowed")
    if kind == "XA" and header.get("MaskSubtractionSequence"):  # C.7.6.10: shown as a difference of frames
        raise ImageError(f"{path}: a subtraction angiogram; one without mask subtraction is allowed")
    if kind not in ENHANCED and (grouped or any(header.get(name) for name in FUNCTIONAL_GROUPS)):
        raise ImageError(
            f"{path}: has functional groups, whose geometry would stay that of the source; refused for now"
        )
    equipment = [header, *(header.get("ContributingEquipmentSequence") or [])]
    if any(str(item.get("ManufacturerModelName", "")) == OWN_MODEL_NAME for item in equipment):
        raise ImageError(f"{path}: is a result of lightsr already; enlarge the original")
    return kind


def check_frame(kind: str, types: list[str], *, component: str, presentation: str) -> None:
    """Refuse a frame of an enhanced image that is no picture to be made sharper.

    Parameters
    ----------
    kind : str
        One of `ENHANCED`.
    types : list of str
        Values of Frame Type.
    component, presentation : str
        Complex Image Component and Pixel Presentation, or "".

    Raises
    ------
    ImageError
        The caller knows the file.
    """
    _check_types(kind, types)
    if component.upper() in REFUSED_COMPONENTS:
        raise ImageError(
            f"a {ENHANCED[kind]} image of type {component.upper()}, part of a complex one; ordinary images are allowed"
        )
    if presentation.upper() in COLOUR_PRESENTATIONS:
        raise ImageError(
            f"a {ENHANCED[kind]} image of type {presentation.upper()}, whose values are colours of a palette; ordinary "
            "images are allowed"
        )


def _check_types(kind: str, types: list[str]) -> None:
    """Refuse by values of Image Type, or of a frame's Frame Type."""
    single = ENHANCED.get(kind, kind)
    refused = REFUSED_IMAGE_TYPES.get(single, {}) | (REFUSED_CONTRASTS if single in ENHANCED.values() else {})
    for value in types:
        if value.upper() in refused:
            what = refused[value.upper()]
            raise ImageError(f"a {single} image of type {value.upper()}, {what}; ordinary images are allowed")


def refusal(uid: str, path: Path) -> ImageError:
    """What is said of a file of the SOP class `uid`, which is none of `SOP_CLASSES`."""
    if uid == MEDIA_DIRECTORY:
        return ImageError(f"{path}: a DICOMDIR, which lists files and is no image; give the folder of these files")
    from pydicom.uid import UID  # a table of names; nothing of the file is parsed

    name = UID(uid).name if uid else ""
    found = f"'{name}'" if name and name != uid else "an unknown SOP class"
    allowed = ", ".join(kind for kind in dict.fromkeys(SOP_CLASSES.values()) if kind != MAMMOGRAPHY)
    return ImageError(f"{path}: {found}; {allowed} images are allowed")
