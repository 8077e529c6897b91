"""Enhanced images for the oracles: what highdicom makes of real series, and how their frames are read."""

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid


def legacy_converted(series: Path, folder: Path) -> Path:
    """Make each series of a folder, of CT or MR images, one legacy converted enhanced image in `folder`."""
    legacy = pytest.importorskip("highdicom.legacy")
    kinds = {"CT": legacy.LegacyConvertedEnhancedCTImage, "MR": legacy.LegacyConvertedEnhancedMRImage}
    folder.mkdir()
    for source in sorted(path for path in series.iterdir() if path.is_dir()):
        datasets = [pydicom.dcmread(path) for path in sorted(source.iterdir())]
        for dataset in datasets:  # de-identification has given each slice of some series one of its own
            dataset.FrameOfReferenceUID = datasets[0].FrameOfReferenceUID
        made = kinds[datasets[0].Modality](
            datasets,
            series_instance_uid=generate_uid(entropy_srcs=[source.name, "series"]),
            series_number=9,
            sop_instance_uid=generate_uid(entropy_srcs=[source.name, "instance"]),
            instance_number=1,
        )
        made.save_as(folder / f"{source.name}.dcm")
    return folder


def group(dataset: Any, index: int, name: str) -> Any:
    """The item of a functional group that holds for frame `index`, its own or a shared one; None without it."""
    for key, number in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        if dataset.get(key) and dataset[key][number].get(name):
            return dataset[key][number][name][0]
    return None
