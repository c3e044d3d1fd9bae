"""What raters are asked before and after the trials: about vision, display and distance, and freely.

BT.500-15 and P.910 want visual acuity and colour vision tested and the viewing conditions reported. A page cannot test
them, so it asks. Answers describe raters in the report; they leave nobody out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MAX_QUESTIONS = 30
MAX_TEXT = 2000  # characters of a free answer


@dataclass(frozen=True)
class Question:
    """options: the answers to choose from; none: free text, which may stay empty."""

    id: str
    when: Literal["before", "after"]
    text: str
    options: tuple[str, ...] = ()

    def fits(self, answer: str) -> bool:
        return answer in self.options if self.options else len(answer) <= MAX_TEXT


_SIGHT = "Well, without glasses or lenses", "Well, with my glasses or lenses on", "Not sharply"
_FAR = "Less than 40 cm", "40 to 60 cm, about a hand's reach", "60 to 80 cm, about an arm's length", "More than 80 cm"
_SCREENS = "Monitor", "Laptop", "Tablet", "Phone", "Television or projector"
_COLOURS = "Yes, as far as I know", "No", "I am not sure"
DEFAULT = (
    Question("vision", "before", "How well do you see the screen now?", _SIGHT),
    Question("colour", "before", "Do you see colours as most people do?", _COLOURS),
    Question("display", "before", "What kind of screen is this?", _SCREENS),
    Question("distance", "before", "How far are your eyes from it?", _FAR),
    Question("remarks", "after", "Is there anything you would like to tell us? What did you look at when you chose?"),
)


def questions_from(rows: Sequence[Mapping[str, Any]]) -> tuple[Question, ...]:
    """Questions from rows with id, when, text and, to choose from, options. ValueError says what is wrong."""
    found = []
    for row in rows:
        options = row.get("options", ())
        if set(row) - {"id", "when", "text", "options"} or row["when"] not in ("before", "after"):
            raise ValueError("a question has id, when (before or after), text and options")
        if not (str(row["id"]).isidentifier() and row["text"] and all(isinstance(o, str) and o for o in options)):
            raise ValueError(f"question {row['id']!r}: the id must be a word, the text and the options not empty")
        found.append(Question(str(row["id"]), row["when"], str(row["text"]), tuple(options)))
    if len(found) > MAX_QUESTIONS or len({q.id for q in found}) < len(found):
        raise ValueError(f"at most {MAX_QUESTIONS} questions, each with an id of its own")
    return tuple(found)
