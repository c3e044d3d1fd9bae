"""Smaller decoders: distillation of a trained synthesis into a narrower one, whose files are the teacher's.

    widths.py    which widths a synthesis may have, what they cost, and how they are drawn within a budget
    channels.py  the teacher's channels by importance, and the first of them as a narrower synthesis
    supernet.py  the teacher whose synthesis runs at any of these widths, all of which share its weights
    search.py    the widths that follow the teacher most closely
    reconstruct.py  what is left after the removal, solved by least squares against the teacher's features
    stages.py    stage 1: the supernet learns; then the search, and stage 2: what was found learns alone

After GAN Compression (Li et al. 2020) and Once-for-all (Cai et al. 2020).
"""
