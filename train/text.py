"""Where an image is text, without a network: thin strokes on an even ground.

A stroke is what a closing or an opening by 7x7 pixels takes away (the black and white top-hat, Meyer 1979). Print has
strong strokes and, between them, ground without any; foliage and grain have strokes of every strength and no ground.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

STROKE, WINDOW = 7, 16  # pixels: wider than a stroke; over which strokes and ground are counted
STRONG, EVEN = 0.25, 0.04  # of the range of luma: from here on a stroke; up to here ground
STROKES, GROUND = (0.04, 0.10), (0.25, 0.40)  # shares of a window: where the mask begins, and where it is whole


@torch.no_grad()
def text_mask(x: Tensor) -> Tensor:
    """Images [N, 3, H, W] in 0..1 -> [N, 1, H, W], from 0 (no text) to 1."""
    luma = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    dark = -_largest(-_largest(luma)) - luma  # closing less the image
    light = luma - _largest(-_largest(-luma))  # the image less its opening
    stroke = torch.maximum(dark, light)
    strong, even = (_share((stroke > STRONG).float()), _share((stroke < EVEN).float()))
    return _ramp(strong, *STROKES) * _ramp(even, *GROUND)


def text_l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error inside of text, over all pixels: [N]."""
    return (text_mask(x) * (x - y).abs()).mean((1, 2, 3))


def _largest(x: Tensor) -> Tensor:
    return F.max_pool2d(x, STROKE, 1, STROKE // 2)


def _share(x: Tensor) -> Tensor:
    """Means over windows, at every pixel."""
    half = WINDOW // 2
    return F.avg_pool2d(F.pad(x, (half, half - 1, half, half - 1), "replicate"), WINDOW, 1)


def _ramp(x: Tensor, begin: float, whole: float) -> Tensor:
    return ((x - begin) / (whole - begin)).clamp(0, 1)
