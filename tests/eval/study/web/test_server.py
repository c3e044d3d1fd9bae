import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gencomp.eval.study.plan import Study, StudyError
from gencomp.eval.study.questions import questions_from
from gencomp.eval.study.web.listen import is_loopback
from gencomp.eval.study.web.server import Panel, create_app
from gencomp.eval.study.web.session import Course
from gencomp.eval.study.web.store import Store

JOIN = {"agree": "yes", "participant": "somebody"}
ANSWER: dict[str, Any] = {"n": 0, "choice": "a", "ms": 1500, "flips": 3, "dpr": 1.0}


@pytest.fixture
def client(course: Course, folder: Path) -> Any:
    return create_app(course, folder, invited_only=False, hosts=["localhost", "127.0.0.1"]).test_client()


@pytest.fixture
def link(client: Any) -> str:
    reply = client.post("/join", data=JOIN)
    assert reply.status_code == 303
    return str(reply.location)


def state_of(course: Course) -> Any:
    """All that the database holds."""
    return list(course.store._db.iterdump())


def test_a_rater_goes_from_consent_to_the_last_trial(client: Any, course: Course) -> None:
    entrance = client.get("/").location
    assert b"I want to take part" in client.get(entrance).data
    assert client.get("/").location != entrance  # whoever comes anew may be another person
    link = client.post("/join", data=JOIN).location
    assert b"Which is closer?" in client.get(link).data
    screen = client.get(f"{link}/state").json
    for n in range(screen["total"]):
        assert (screen["n"], set(screen["trial"]["images"])) == (n, {"original", "a", "b"})
        for address in screen["trial"]["images"].values():
            image = client.get(address)
            assert image.mimetype == "image/png"
            assert "immutable" in image.headers["Cache-Control"]
        receipt = client.post(f"{link}/vote", json=ANSWER | {"n": n}).json
        assert receipt["counted"]
        assert (receipt["right"] != []) <= (n < screen["training"])
        screen = receipt["screen"]
    assert screen["trial"] is None
    assert [v.n for v in course.store.votes()] == list(range(17))


def test_a_study_that_lacks_a_image_is_not_served(course: Course, folder: Path) -> None:
    lost = folder / "images" / f"{course.study.scenes[1].renderings['bad'].image}.png"
    lost.unlink()
    with pytest.raises(StudyError, match=f"lacks {lost.name}; copy the study's folder whole"):
        create_app(course, folder, invited_only=False)


def test_no_consent_no_study(client: Any, course: Course, folder: Path) -> None:
    before = state_of(course)
    assert client.post("/join").status_code == 403
    assert client.post("/join", data=JOIN | {"agree": "no"}).status_code == 403
    assert state_of(course) == before
    link = f"/r/{course.join(agreed=False)}"
    assert b"I want to take part" in client.get(link).data
    assert client.get(f"{link}/state").status_code == 403
    assert client.post(f"{link}/vote", json=ANSWER).status_code == 403
    assert client.post(f"{link}/agree", data={"agree": "yes"}).status_code == 303
    assert client.get(f"{link}/state").status_code == 200


def test_the_page_does_not_tell_codecs_or_checks(client: Any, link: str, course: Course) -> None:
    told = client.get(link).data.decode()
    for n in range(17):
        told += client.get(f"{link}/state").data.decode()
        reply = client.post(f"{link}/vote", json=ANSWER | {"n": n})
        told += reply.data.decode()
    shown = re.sub(r"Space|flip|[0-9a-f]{16,}", "", told)  # random names of images may spell a word
    for secret in ("good", "middling", "bad", "check", "degraded", "mild", "repeat", "image0", "/s0"):
        assert secret not in shown


def test_nothing_is_fetched_from_elsewhere(client: Any, link: str) -> None:
    pages = [client.get(page) for page in ("/?visit=another", link, "/static/trial.js", "/static/views.js",
                                           "/static/wire.js", "/static/study.css", "/static/icon.svg")]  # fmt: skip
    for page in pages:
        assert page.status_code == 200
        addresses = set(re.findall(rb"(?:https?:)?//[\w.]+", re.sub(rb"^\s*//.*$|  //.*$", b"", page.data, flags=re.M)))
        assert addresses <= {b"http://www.w3.org"}  # the name of SVG, which nobody fetches
        assert b"url(" not in page.data
        assert b"@import" not in page.data
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize("path", [
    "/r/nobody", "/r/nobody/state", "/r/<script>alert(1)</script>", "/r/%00", "/r/..%2f..%2fstudy.json",
    "/r/" + "a" * 5000, "/r/\u2603", "/r/%ff%fe", "/r/nobody/i/0/a.png", "/r/nobody/i/0/..%2f..%2fstudy.png",
    "/static/../server.py", "/static/..%2fserver.py", "/votes.sqlite", "/study.json", "/links.txt",
])  # fmt: skip
def test_unknown_addresses_are_a_plain_404(client: Any, course: Course, path: str) -> None:
    before = state_of(course)
    reply = client.get(path)
    assert (reply.status_code, reply.data, reply.mimetype) == (404, b"404 Not Found\n", "text/plain")
    assert state_of(course) == before


FORGED: list[tuple[int, dict[str, Any]]] = [
    (409, {"n": 5}), (409, {"n": -1}), (409, {"n": 10**30}), (400, {"n": "0"}), (400, {"n": None}), (400, {"n": 0.0}),
    (400, {"n": True}), (400, {"n": [0]}), (409, {"choice": "c"}), (409, {"choice": "tie"}), (409, {"choice": ""}),
    (409, {"choice": "'; DROP TABLE votes; --"}), (409, {"choice": "<script>alert(1)</script>"}), (400, {"choice": 1}),
    (409, {"ms": -1}), (409, {"ms": 10**15}), (400, {"ms": "fast"}), (409, {"flips": -3}), (409, {"dpr": 0}),
    (409, {"dpr": float("nan")}), (409, {"dpr": float("inf")}), (400, {"rater": "somebody else"}),
    (400, {"kind": "pair"}), (409, {"ms": 299}), (409, {"ms": 60_000}), (409, {"flips": 0}), (409, {"dpr": 3.0}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "change"), FORGED)
def test_a_forged_answer_is_refused(client: Any, link: str, course: Course, status: int, change: Any) -> None:
    before = state_of(course)
    reply = client.post(f"{link}/vote", json=ANSWER | change)
    assert reply.status_code == status
    assert b"<script>" not in reply.data
    assert state_of(course) == before


@pytest.mark.parametrize(("status", "body"), [
    (413, b"x" * 5000), (413, json.dumps(ANSWER | {"pad": "x" * 10**6}).encode()), (400, b"not json"), (400, b"[]"),
    (400, b"{}"), (400, b"null"), (400, b"\xff\xfe"), (400, b"[" * 4000), (400, b'{"n": ' + b"9" * 4000), (400, b""),
])  # fmt: skip
def test_a_body_that_is_no_answer_is_refused(client: Any, link: str, course: Course, status: int, body: bytes) -> None:
    before = state_of(course)
    assert client.post(f"{link}/vote", data=body, content_type="application/json").status_code == status
    assert state_of(course) == before


def test_an_answer_must_come_as_json_and_by_post(client: Any, link: str, course: Course) -> None:
    before = state_of(course)
    assert client.post(f"{link}/vote", data=ANSWER).status_code == 415
    assert client.get(f"{link}/vote").status_code == 405
    assert client.put(f"{link}/vote", json=ANSWER).status_code == 405
    assert (client.delete(link).status_code, state_of(course)) == (405, before)


def test_another_site_cannot_act_for_a_rater(client: Any, link: str, course: Course) -> None:
    before = state_of(course)
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        headers = {"Origin": origin}
        assert client.post("/join", data=JOIN, headers=headers).status_code == 403
        assert client.post(f"{link}/vote", json=ANSWER, headers=headers).status_code == 403
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert state_of(course) == before
    assert client.post(f"{link}/vote", json=ANSWER, headers={"Origin": "http://localhost"}).status_code == 200


def test_strangers_need_an_invitation(course: Course, folder: Path) -> None:
    client = create_app(course, folder, invited_only=True).test_client()
    assert b"personal link" in client.get("/").data
    before = state_of(course)
    assert (client.post("/join", data=JOIN).status_code, state_of(course)) == (403, before)
    assert b"I want to take part" in client.get(f"/r/{course.join(agreed=False)}").data


def test_a_script_in_the_owners_words_is_shown_as_text(course: Course, folder: Path, built_with: Any) -> None:
    (folder / "consent.txt").write_text("<script>alert('consent')</script>")
    page = create_app(course, folder, invited_only=False).test_client().get("/?visit=somebody").data
    assert b"<script>alert" not in page
    assert b"&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    ("host", "near"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.8.8", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.7", False), ("study.example.org", False), ("", False)],
)  # fmt: skip
def test_only_loopback_is_near(host: str, near: bool) -> None:
    assert is_loopback(host) is near


def test_a_panel_brings_raters_and_takes_them_back(course: Course, folder: Path) -> None:
    panel = Panel("PROLIFIC_PID", "C0DE", "https://panel.example/complete?cc=C0DE")
    client = create_app(course, folder, invited_only=False, panel=panel).test_client()
    assert b"the panel that invited you" in client.get("/").data
    assert client.post("/join", data={"agree": "yes"}).status_code == 403
    assert b'value="5f00c0ffee"' in client.get("/?PROLIFIC_PID=5f00c0ffee&STUDY_ID=1").data
    link = client.post("/join", data={"agree": "yes", "participant": "5f00c0ffee"}).location
    assert client.get("/?PROLIFIC_PID=5f00c0ffee&STUDY_ID=1").location == link
    assert b"C0DE" not in client.get(link).data
    for n in range(17):
        client.post(f"{link}/vote", json=ANSWER | {"n": n})
    end = client.get(link).data
    assert b"C0DE" in end
    assert b'href="https://panel.example/complete?cc=C0DE"' in end
    expected = hashlib.sha256(f"{course.study.id}:5f00c0ffee".encode()).hexdigest()[:16]
    assert {v.rater for v in course.store.votes()} == {expected}
    assert "5f00c0ffee" not in "".join(state_of(course))


def test_questions_frame_the_trials(make_study: Any, course_of: Any) -> None:
    asked = questions_from([
        {"id": "vision", "when": "before", "text": "Sharp?", "options": ["yes", "no"]},
        {"id": "remarks", "when": "after", "text": "Anything?"},
    ])  # fmt: skip
    folder, study = make_study(questions=asked)
    course = course_of(Store(folder, study.id), study)
    client = create_app(course, folder, invited_only=False).test_client()
    link = client.post("/join", data=JOIN).location
    assert b"Sharp?" in client.get(link).data
    assert client.get(f"{link}/state").status_code == 403
    assert client.post(f"{link}/vote", json=ANSWER).status_code == 403
    for wrong in ({}, {"vision": "perhaps"}, {"remarks": "yes"}):
        assert client.post(f"{link}/answers", data=wrong).status_code == 409
    assert client.post(f"{link}/answers", data={"vision": "no", "remarks": "too soon"}).status_code == 303
    for n in range(17):
        assert client.post(f"{link}/vote", json=ANSWER | {"n": n}).status_code == 200
    assert b"Anything?" in client.get(link).data
    client.post(f"{link}/answers", data={"remarks": "<b>fine</b>", "vision": "yes"})
    assert b"Thank you" in client.get(link).data
    assert list(course.store.told().values()) == [{"vision": "no", "remarks": "<b>fine</b>"}]


def test_facts_of_the_screen_are_kept_once_and_checked(client: Any, link: str, course: Course) -> None:
    facts = {"screen_width": 1920, "screen_height": 1080, "window_width": 1000, "window_height": 700.5, "dpr": 1.5,
             "colour_depth": 24, "gamut": "p3", "dynamic_range": "standard", "pointer": "fine"}  # fmt: skip
    for _ in range(2):
        assert client.post(f"{link}/display", json=facts).status_code == 204
    for wrong in ({"gamut": 3}, {"dpr": "1"}, {"agent": "browser"}, {"pointer": "x" * 50}):
        assert client.post(f"{link}/display", json=facts | wrong).status_code == 400
    for width in range(50):
        client.post(f"{link}/display", json=facts | {"window_width": width})
    (told,) = course.store.told().values()
    assert facts in told["displays"]
    assert len(told["displays"]) == 20


def test_only_the_images_of_the_present_trials_are_given_out(client: Any, link: str) -> None:
    assert client.get(f"{link}/i/0/a.png").status_code == client.get(f"{link}/i/1/b.png").status_code == 200
    for address in ("i/2/a.png", "i/16/a.png", "i/-1/a.png", "i/0/degraded.png", "i/0/good.png", "i/0/image.png"):
        assert client.get(f"{link}/{address}").status_code == 404
    for n in range(4):
        client.post(f"{link}/vote", json=ANSWER | {"n": n})
    assert client.get(f"{link}/i/3/a.png").status_code == 200
    assert client.get(f"{link}/i/0/a.png").status_code == 404
    headers = client.get(f"{link}/i/4/a.png").headers
    assert "ETag" not in headers
    assert "Last-Modified" not in headers


def test_the_servers_own_clock_counts(folder: Path, study: Study) -> None:
    now = [1_800_000_000.0]
    course = Course(study, Store(folder, study.id), lambda: now[0])
    client = create_app(course, folder, invited_only=False).test_client()
    link = client.post("/join", data=JOIN).location
    now[0] += 0.2
    assert client.post(f"{link}/vote", json=ANSWER | {"ms": 900}).status_code == 409
    now[0] += 1.05
    assert client.post(f"{link}/vote", json=ANSWER | {"ms": 900}).status_code == 200
    assert [(v.ms, v.server_ms) for v in course.store.votes()] == [(900, 1250)]
