"""What each effort does: so many steps of descent, chosen so that each doubles the time of the one before, about."""

STEPS = (0, 3, 6, 12, 20, 36, 64, 120, 200, 400)
MAX_EFFORT = len(STEPS) - 1


def steps_of(effort: int) -> int:
    """Steps of an effort 0..9; ValueError for another."""
    if not 0 <= effort <= MAX_EFFORT:
        raise ValueError(f"effort is a whole number of 0 to {MAX_EFFORT}, not {effort}")
    return STEPS[effort]
