"""What `compress` may do beyond one pass: how long it refines an image's latents (effort), and what for (aim)."""

STEPS = (0, 3, 5, 8, 14, 24, 36, 54, 80, 120)  # of descent; each has about 1.5 times those of the one before
MAX_EFFORT = len(STEPS) - 1
AIMS = ("realism", "pixels")  # the first is the default


def steps_of(effort: int) -> int:
    """Steps of an effort 0..9; ValueError for another."""
    if not 0 <= effort <= MAX_EFFORT:
        raise ValueError(f"effort is a whole number of 0 to {MAX_EFFORT}, not {effort}")
    return STEPS[effort]


def checked_aim(aim: str) -> str:
    """The aim; ValueError for what is none."""
    if aim not in AIMS:
        raise ValueError(f"the aim is {' or '.join(AIMS)}, not {aim}")
    return aim
