"""The web side of a study: a Flask application, thin over `session.py`, and the server that runs it.

Every address that says anything about a rater holds that rater's token, 128 random bits. The address of an image holds
the rater, the trial and the place on the page, so that it tells neither the codec nor whether two images are one. No
page fetches anything from elsewhere and the content policy forbids it. A refused request gets a plain status and
changes nothing.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, redirect, render_template, request, send_from_directory, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ..design.build import CONSENT
from ..design.trials import Trial
from ..plan import GRADES, Study, StudyError
from .session import AnswerRefused, Course, Screen, shown
from .store import Rater

MAX_BODY = 1 << 16  # bytes of a form; a free answer has up to 2,000 characters
MAX_JSON = 4096  # bytes; an answer has about a hundred
PARTICIPANT = re.compile(r"[\w.-]{6,100}", re.ASCII)
ANSWER: dict[str, type] = {"n": int, "choice": str, "ms": int, "flips": int, "dpr": float}
DISPLAY: dict[str, type] = {
    **dict.fromkeys(("screen_width", "screen_height", "window_width", "window_height", "dpr", "colour_depth"), float),
    **dict.fromkeys(("gamut", "dynamic_range", "pointer"), str),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Answer = Response | BaseResponse | str


class Panel(NamedTuple):
    """How raters come and go. participant: the query parameter by which a panel names its people; None: whoever opens
    the page is a new rater. code, url: what a rater who is done is shown, and where the way back to the panel leads."""

    participant: str | None = None
    code: str | None = None
    url: str | None = None


def create_app(
    course: Course,
    folder: Path,
    *,
    invited_only: bool,
    hosts: list[str] | None = None,
    public: str | None = None,
    panel: Panel | None = None,
) -> Flask:
    """The application for one study.

    invited_only: a rater needs a link that `study serve --invite` made; otherwise whoever opens the page may take part.
    hosts: names this server answers to (None: any); a page of another site that a browser was led to cannot reach it.
    public: host and port that raters see, where a proxy stands before this server.
    StudyError if an image of the plan is not in the folder.
    """
    app = Flask(__name__)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, TRUSTED_HOSTS=hosts)
    folder = folder.resolve()  # Flask takes a relative path as relative to this package
    if missing := sorted(n for n in course.study.images if not (folder / "images" / f"{n}.png").is_file()):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise StudyError(f"{folder / 'images'} lacks {missing[0]}.png{more}; copy the study's folder whole")
    panel, study, store = panel or Panel(), course.study, course.store

    def rater_of(token: str, *, agreed: bool = False, in_trials: bool = False) -> Rater:
        """404 for a token that is no rater's; 403 for one who has not agreed yet, or is asked questions first."""
        rater = store.rater(token) or abort(404)
        if (agreed or in_trials) and not rater.agreed:
            abort(403)
        if in_trials and rater.done < rater.total and course.unanswered(rater):
            abort(403)
        return rater

    width, height = study.largest_crop()
    grades = GRADES.get(study.task, ())
    shape = {"study": study, "width": width, "height": height, "grades": grades}  # says whether trials fit a screen

    def consent(action: str, participant: str = "") -> str:
        text = (folder / CONSENT).read_text("utf-8")
        return render_template("consent.html", consent=text, action=action, participant=participant, **shape)

    # Where raters without a link of their own come in. Whoever comes again under the same name, or goes back to the
    # consent and begins again, stays the same rater: the name alone decides the link.

    @app.get("/")
    def start() -> Answer:
        name = request.args.get(panel.participant or "visit", "")
        if invited_only or (panel.participant and not PARTICIPANT.fullmatch(name)):
            source = "the panel that invited you" if panel.participant else "the personal link that you were given"
            text = f"Please come by {source}: it brings you to the study, and back to where you stopped."
            return render_template("message.html", title=study.title, text=text)
        if not PARTICIPANT.fullmatch(name):
            return redirect(url_for("start", visit=secrets.token_urlsafe(16)), 303)
        if store.rater(token := course.token_of(name)):
            return redirect(url_for("rate", token=token), 303)
        return consent(url_for("join"), name)

    @app.post("/join")
    def join() -> Answer:
        name = request.form.get("participant", "")
        if invited_only or request.form.get("agree") != "yes" or not PARTICIPANT.fullmatch(name):
            abort(403)
        rater = hashlib.sha256(f"{study.id}:{name}".encode()).hexdigest()[:16] if panel.participant else None
        return redirect(url_for("rate", token=course.join(agreed=True, token=course.token_of(name), rater=rater)), 303)

    # A rater's own link: consent, questions, trials, questions, thanks, one after the other.

    @app.get("/r/<token>")
    def rate(token: str) -> Answer:
        rater = rater_of(token)
        if not rater.agreed:
            return consent(url_for("agree", token=token))
        if questions := course.unanswered(rater):
            after = rater.done == rater.total
            return render_template("questions.html", title=study.title, questions=questions, after=after, token=token)
        if rater.done == rater.total:
            return render_template("done.html", title=study.title, panel=panel)
        return render_template("trial.html", **shape)

    @app.post("/r/<token>/agree")
    def agree(token: str) -> Answer:
        rater = rater_of(token)
        if request.form.get("agree") != "yes":
            abort(403)
        course.agree(rater)
        return redirect(url_for("rate", token=token), 303)

    @app.post("/r/<token>/answers")
    def answers(token: str) -> Answer:
        course.answer(rater_of(token, agreed=True), request.form.to_dict())
        return redirect(url_for("rate", token=token), 303)

    # What the page of the trials asks for and sends.

    @app.get("/r/<token>/state")
    def state(token: str) -> Answer:
        return jsonify(_screen(study, token, course.screen(rater_of(token, in_trials=True))))

    @app.post("/r/<token>/vote")
    def vote(token: str) -> Answer:
        receipt = course.vote(rater_of(token, in_trials=True), **_fields(ANSWER))
        screen = _screen(study, token, receipt.screen)
        return jsonify({"counted": receipt.counted, "right": receipt.right, "screen": screen})

    @app.post("/r/<token>/display")
    def display(token: str) -> Answer:
        course.show_on(rater_of(token, in_trials=True), _fields(DISPLAY))
        return Response(status=204)

    @app.get("/r/<token>/i/<int:n>/<name>.png")
    def image(token: str, n: int, name: str) -> Answer:
        stem = course.image(rater_of(token, in_trials=True), n, name) or abort(404)
        response = send_from_directory(folder / "images", f"{stem}.png", mimetype="image/png", max_age=None, etag=False)
        response.headers.remove("Last-Modified")  # the same for the same file, and so a way to tell files apart
        response.headers["Cache-Control"] = "private, max-age=86400, immutable"
        return response

    @app.before_request
    def same_site() -> None:
        origin = request.headers.get("Origin")
        if request.method == "POST" and origin is not None and urlsplit(origin).netloc not in (request.host, public):
            abort(403)

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        if "Cache-Control" not in response.headers or not response.cache_control.max_age:
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(AnswerRefused)
    def refused(error: AnswerRefused) -> tuple[Response, int]:
        return jsonify(error=str(error)), 409

    @app.errorhandler(HTTPException)
    def plain(error: HTTPException) -> tuple[Response, int]:
        """The status and its name; never a word of what was sent."""
        return Response(f"{error.code} {error.name}\n", mimetype="text/plain"), error.code or 500

    @app.errorhandler(Exception)
    def broken(error: Exception) -> tuple[Response, int]:
        app.logger.exception("a request failed")
        return Response("500 Internal Server Error\n", mimetype="text/plain"), 500

    return app


def _fields(fields: Mapping[str, type]) -> dict[str, Any]:
    """The fields of the object that was sent, each of its type (whole numbers are floats, too); nothing is converted.
    400 otherwise."""
    if (request.content_length or 0) > MAX_JSON:
        abort(413)
    try:
        sent: Any = request.get_json()
    except (RecursionError, ValueError):  # nested thousandfold, or a number of thousands of digits
        abort(400)
    if not isinstance(sent, dict) or set(sent) != set(fields):
        abort(400)
    for key, kind in fields.items():
        kinds = (int, float) if kind is float else (kind,)
        if type(sent[key]) not in kinds or (kind is str and len(sent[key]) > 40):
            abort(400)
    return sent


def _screen(study: Study, token: str, screen: Screen) -> dict[str, Any]:
    """What the page is told. Neither the codecs nor which trials are checks; an image's address names the trial and the
    place, never the file, so equal addresses are no more a hint than unequal ones."""

    def images(n: int, trial: Trial | None) -> dict[str, Any] | None:
        if trial is None:
            return None
        scene, base = study.scene[trial.scene], f"{request.script_root}/r/{token}/i/{n}"
        names = {name: f"{base}/{name}.png" for name in shown(study, trial)}
        return {"width": scene.width, "height": scene.height, "images": names}

    trials = {"trial": images(screen.n, screen.trial), "ahead": images(screen.n + 1, screen.ahead)}
    return {"n": screen.n, "total": screen.total, "training": screen.training, **trials}
