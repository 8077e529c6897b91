"""A picture of a light dense network, drawn from the network itself: ``python -m lightsr_train.drawing``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

import torch
from lightsr import files
from lightsr.errors import LightsrError
from torch import Tensor, nn

from lightsr_train.blocks import DenseBlock, DenseLayer
from lightsr_train.dense import LightDense
from lightsr_train.networks import build
from lightsr_train.picture import ZeroSumStem
from lightsr_train.settings import from_preset
from lightsr_train.upsampling import StagedDeconvolution

SIDE_PX = 16
"""Side of the picture that is sent through the network to learn its shapes, low-resolution pixels."""

BOX_WIDTH, BOX_HEIGHT, GAP = 136, 56, 26
"""Of a box and between boxes, in units of the drawing."""

COLOURS = {"float": "#dbe9f6", "body": "#fdf0d5", "layer": "#e8f3e1"}
"""Boxes by what they are: the picture's own path, the trunk, a block's layers."""


@dataclass(frozen=True)
class Box:
    """A part of the network.

    Parameters
    ----------
    title, text : str
        Its name, and what it is.
    shape : str
        Channels and size of what it gives, such as "32 @ 1x".
    kind : str
        Key of `COLOURS`.
    """

    title: str
    text: str
    shape: str
    kind: str


def describe(part: nn.Module) -> str:
    """A convolution in a few signs, such as "3x3, 32 -> 16"; raises TypeError for every other part."""
    if not isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        raise TypeError(f"{type(part).__name__} has no description")
    stride = f" / {part.stride[0]}" if isinstance(part, nn.ConvTranspose2d) else ""
    return f"{part.kernel_size[0]}x{part.kernel_size[1]}{stride}, {part.in_channels} -> {part.out_channels}"


def shapes(network: LightDense) -> dict[str, tuple[int, ...]]:
    """Shape of what every part of the network gives for one picture, by the part's name."""
    found: dict[str, tuple[int, ...]] = {}
    handles = []
    for name, module in network.named_modules():

        def note(module: nn.Module, given: object, result: object, name: str = name) -> None:
            if isinstance(result, Tensor):
                found[name] = tuple(result.shape)

        handles.append(module.register_forward_hook(note))
    with torch.no_grad():
        network(torch.zeros(1, 1, SIDE_PX, SIDE_PX))
    for handle in handles:
        handle.remove()
    return found


def boxes(network: LightDense) -> tuple[list[Box], list[Box], list[Box]]:
    """Parts of the trunk, of its first block, and of the picture's own path."""
    sizes = shapes(network)

    def size(name: str) -> str:
        _, channels, rows, _ = sizes[name]
        factor = rows / SIDE_PX
        return f"{channels} @ {f'1/{SIDE_PX // rows}' if factor < 1 else f'{factor:g}'}x"

    weight = network.stem.weight if isinstance(network.stem, ZeroSumStem) else next(network.stem.parameters())
    side = weight.shape[-1]
    zero_sum = ", zero-sum" if network.config.equivariant else ""
    trunk = [Box("stem", f"{side}x{side}{zero_sum}", size("stem"), "float")]
    for i in range(len(network.blocks)):
        trunk.append(Box(f"block {i + 1}", network.config.wiring, size(f"blocks.{i}"), "body"))
    trunk.append(Box("global fusion", f"{describe(network.fuse)}, ReLU", size("fuse"), "body"))
    part = network.deconvolution
    if isinstance(part, StagedDeconvolution):
        for i, stage in enumerate(part.stages):
            last = i == len(part.stages) - 1
            shape = size(f"deconvolution.stages.{i}") if not last else size("")
            after = ", 1x1 -> 1" if last else ", ReLU"
            trunk.append(Box(f"deconvolution {i + 1}", describe(stage) + after, shape, "body"))
    else:
        text = describe(part) if isinstance(part, nn.ConvTranspose2d) else "sub-pixel"
        trunk.append(Box("deconvolution", text, size("deconvolution"), "body"))
    block = network.blocks[0]
    assert isinstance(block, DenseBlock)
    layers = []
    for i, layer in enumerate(block.layers):
        assert isinstance(layer, DenseLayer)
        wide = f"{describe(layer.widen)}, ReLU, " if layer.widen is not None else ""
        end = "" if layer.widen is not None else ", ReLU"
        shrink = layer.shrink if isinstance(layer.shrink, nn.Conv2d) else layer.shrink.plain
        layers.append(Box(f"layer {i + 1}", f"{wide}{describe(shrink)}{end}", size(f"blocks.0.layers.{i}"), "layer"))
    if block.fuse is not None:
        layers.append(Box("fusion", describe(block.fuse), size("blocks.0.fuse"), "layer"))
    picture = []
    if network.skip is not None:
        picture.append(Box("skip", f"{network.config.skip} 5x5 polyphase", size(""), "float"))
    picture.append(Box("sum", "skip + detail", size(""), "float"))
    if network.config.consistency:
        picture.append(Box("consistency", f"lambda {network.config.consistency:g}", size(""), "float"))
    return trunk, layers, picture


class _Canvas:
    def __init__(self) -> None:
        self.parts: list[str] = []

    def box(self, box: Box, left: float, top: float) -> None:
        self.parts.append(
            f'<rect x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
            f'fill="{COLOURS[box.kind]}" stroke="#555"/>'
        )
        for line, (text, size) in enumerate(((box.title, 12), (box.text, 9), (box.shape, 9))):
            self.text(text, left + BOX_WIDTH / 2, top + 18 + 15 * line, size=size, bold=line == 0)

    def text(
        self, text: str, x: float, y: float, *, size: int = 10, bold: bool = False, anchor: str = "middle"
    ) -> None:
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="#555" marker-end="url(#head)"/>')

    def svg(self, width: float, height: float) -> str:
        head = (
            '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="#555"/></marker>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n<defs>{head}</defs>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def draw(network: LightDense, title: str) -> str:
    """The network as an SVG document."""
    trunk, layers, picture = boxes(network)
    canvas = _Canvas()
    step, middle = BOX_WIDTH + GAP, BOX_HEIGHT / 2
    first = 40.0
    top, path_top, block_top = 190.0, 60.0, 330.0
    canvas.text(title, 14, 26, size=14, bold=True, anchor="start")
    canvas.text("lr", 14, top + middle + 4)
    _row(canvas, trunk, first, top)
    canvas.arrow((24, top + middle), (first, top + middle))
    _gathering(canvas, [first + step * (1 + i) for i in range(len(network.blocks))], top, -26)
    end = first + step * (len(trunk) - 1)
    # the picture's own path, above
    at = [first + step, *(end + step * i for i in range(len(picture) - 1))] if network.skip is not None else [end]
    for box, left in zip(picture, at, strict=True):
        canvas.box(box, left, path_top)
    if network.skip is not None:
        canvas.arrow((14, top + middle - 12), (14, path_top + middle), (at[0], path_top + middle))
    for left, right in pairwise(at):
        canvas.arrow((left + BOX_WIDTH, path_top + middle), (right, path_top + middle))
    joined = at[1] if network.skip is not None else at[0]
    canvas.arrow((joined + BOX_WIDTH / 2, top), (joined + BOX_WIDTH / 2, path_top + BOX_HEIGHT))
    canvas.arrow((at[-1] + BOX_WIDTH, path_top + middle), (at[-1] + BOX_WIDTH + 30, path_top + middle))
    canvas.text("sr", at[-1] + BOX_WIDTH + 42, path_top + middle + 4)
    # the first block, below
    canvas.text("inside block 1", first + step, block_top - 44, bold=True, anchor="start")
    _row(canvas, layers, first + step, block_top)
    canvas.arrow((first + step - 40, block_top + middle), (first + step, block_top + middle))
    gathered = network.config.wiring != "plain"
    sources = [first + step * (1 + i) for i in range(len(layers) - int(gathered))]
    if network.config.wiring == "dense":
        for i in range(1, len(sources)):
            _gathering(canvas, [*sources[:i], sources[i] - step], block_top, -20 - 4 * i)
    if gathered:
        _gathering(canvas, [first + step - 12 - BOX_WIDTH - GAP / 2, *sources], block_top, -26)
    if network.config.local_skip:
        start, stop = first + step - 30, first + step * (len(layers) + 1) - GAP / 2 + 14
        level = block_top + BOX_HEIGHT + 22
        canvas.arrow((start, block_top + middle), (start, level), (stop, level), (stop, block_top + middle + 4))
        canvas.arrow((first + step * (len(layers) + 1) - GAP, block_top + middle), (stop - 2, block_top + middle))
        canvas.text(
            "+" + (", ReLU" if network.config.wiring == "one-shot" else ""),
            stop + 8,
            block_top + middle - 6,
            anchor="start",
        )
    width = max(at[-1] + BOX_WIDTH + 60, first + step * (len(layers) + 1) + 60)
    canvas.text(
        "blue: float in int8 files; the rest in integers", width - 14, block_top + BOX_HEIGHT + 40, size=9, anchor="end"
    )
    return canvas.svg(width, block_top + BOX_HEIGHT + 56)


def _row(canvas: _Canvas, row: Sequence[Box], left: float, top: float) -> None:
    for i, box in enumerate(row):
        canvas.box(box, left + (BOX_WIDTH + GAP) * i, top)
        if i:
            start = left + (BOX_WIDTH + GAP) * i - GAP
            canvas.arrow((start, top + BOX_HEIGHT / 2), (start + GAP, top + BOX_HEIGHT / 2))


def _gathering(canvas: _Canvas, lefts: Sequence[float], top: float, rise: float) -> None:
    """Lines from boxes over their neighbours into the one after the last."""
    target = lefts[-1] + BOX_WIDTH + GAP + 20
    for left in lefts[:-1]:
        start = left + BOX_WIDTH + GAP / 2
        canvas.arrow((start, top + BOX_HEIGHT / 2), (start, top + rise), (target, top + rise), (target, top))


def main(argv: Sequence[str]) -> int:
    """``NAME SCALE FILE.svg``: draw a named network."""
    try:
        name, scale, target = argv
        config = from_preset(name, int(scale))
        network = build(config.family, asdict(config.last.network)).eval()
        if not isinstance(network, LightDense):
            raise ValueError(name)
    except (ValueError, LightsrError) as error:
        sys.stderr.write(f"lightsr_train.drawing: NAME SCALE FILE.svg are needed, NAME tiny or base ({error})\n")
        return 2
    with files.new_file(Path(target), overwrite=True) as file:
        file.write(draw(network, f"{name} x{scale}").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
