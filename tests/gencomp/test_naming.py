import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencomp.outputs import output_names

NAMES = st.lists(st.from_regex(r"[aAb.]{0,3}[ab]\.(jpg|png|gnc)", fullmatch=True), unique=True, max_size=12)


@given(NAMES)
def test_distinct_inputs_have_distinct_outputs_even_where_case_is_not_told_apart(names: list[str]) -> None:
    files = [name for i, name in enumerate(names) if name.casefold() not in {n.casefold() for n in names[:i]}]
    outputs = [name.casefold() for name in output_names(files, ".gnc")]
    assert len(set(outputs)) == len(outputs)


@given(NAMES)
def test_outputs_take_no_name_that_is_taken(names: list[str]) -> None:
    taken = {name.rpartition(".")[0] + ".gnc" for name in names[::2]} - {*names}
    outputs = output_names(names, ".gnc", taken)
    assert len({*outputs, *taken}) == len(outputs) + len(taken)


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        (["./a.b.jpg"], ["./a.b.gnc"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg.gnc", "a.png.gnc", "b.gnc"]),
        (["A.jpg", "a.png"], ["A.jpg.gnc", "a.png.gnc"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg.gnc", "a.png.gnc", "a.jpg.png.gnc"]),
        (["a.jpg", "a.gnc"], ["a.jpg.gnc", "a.gnc"]),
        (["e\u0301.jpg", "\xe9.png"], ["e\u0301.jpg.gnc", "\xe9.png.gnc"]),
        (["./a.d/b", "a.d/c.jpg"], ["./a.d/b.gnc", "a.d/c.gnc"]),
    ],
)
def test_outputs_keep_the_stem_where_they_can(names: list[str], outputs: list[str]) -> None:
    assert output_names(names, ".gnc") == outputs
