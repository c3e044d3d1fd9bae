"""Augmentation by the codec: images coded and decoded at a random quality and realism.

    from gencomp.augment import CodecAugment                for torchvision's transforms.v2
    from gencomp.augment.kornia import CodecAugment         for kornia.augmentation

What a network sees is what it would see of a decoded file: the analysis, the model's own integer rounding and the
synthesis run as they do in `compress` and `decompress`, and nothing is approximated. The range coder alone is left out,
since no bit is wanted. No gradient passes. 0.08 s of one core for 224 x 224 pixels, by

    OMP_NUM_THREADS=1 python -m timeit -p -n 10 -s "from skimage.data import astronaut; from PIL import Image;
    from gencomp.augment import CodecAugment as A; a = A(); x = Image.fromarray(astronaut()[:224, :224])" "a(x)"
"""

from gencomp.augment.transforms import CodecAugment as CodecAugment
