"""The web side of a study: a Flask application, thin over `session.py`, and the server that runs it.

Every address that says anything about a rater holds that rater's token, 128 random bits. Images are named by the hash
of their bytes, so an address can neither be guessed nor tells the codec. No page fetches anything from elsewhere and
the content policy forbids it. A refused request gets a plain status and changes nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, redirect, render_template, request, send_from_directory, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ..design.build import CONSENT
from ..plan import Study, StudyError
from .session import Course, Receipt, Refused, Screen
from .store import Rater

MAX_BODY = 4096  # bytes; an answer has about a hundred
POLICY = (
    "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Answer = Response | BaseResponse | str


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def create_app(
    course: Course, folder: Path, *, invited_only: bool, hosts: list[str] | None = None, public: str | None = None
) -> Flask:
    """The application for one study.

    invited_only: a rater needs a link that `study serve --invite` made; otherwise whoever opens the page may take part.
    hosts: names this server answers to (None: any); a page of another site that a browser was led to cannot reach it.
    public: host and port that raters see, where a proxy stands before this server.
    StudyError if an image of the plan is not in the folder.
    """
    app = Flask(__name__)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, TRUSTED_HOSTS=hosts)
    study, store = course.study, course.store
    folder = folder.resolve()  # Flask takes a relative path as relative to this package
    images = study.images
    if missing := sorted(name for name in images if not (folder / "images" / f"{name}.png").is_file()):
        raise StudyError(
            f"{folder / 'images'} lacks {missing[0]}.png"
            + (f" and {len(missing) - 1} more" if missing[1:] else "")
            + "; copy the study's folder whole"
        )

    def rater_or_404(token: str) -> Rater:
        return store.rater(token) or abort(404)

    @app.get("/")
    def start() -> Answer:
        if invited_only:
            return render_template(
                "message.html",
                title=study.title,
                text="Please open the personal link that you were "
                "given: it brings you to the study, and back to where you stopped.",
            )
        return render_template("consent.html", title=study.title, consent=_consent(folder), action=url_for("join"))

    @app.post("/join")
    def join() -> Answer:
        if invited_only or request.form.get("agree") != "yes":
            abort(403)
        return redirect(url_for("rate", token=course.join(agreed=True)), 303)

    @app.get("/r/<token>")
    def rate(token: str) -> Answer:
        if not rater_or_404(token).agreed:
            return render_template(
                "consent.html", title=study.title, consent=_consent(folder), action=url_for("agree", token=token)
            )
        width, height = study.largest_crop()
        return render_template("trial.html", study=study, width=width, height=height)

    @app.post("/r/<token>/agree")
    def agree(token: str) -> Answer:
        rater = rater_or_404(token)
        if request.form.get("agree") != "yes":
            abort(403)
        store.agree(rater.id)
        return redirect(url_for("rate", token=token), 303)

    @app.get("/r/<token>/state")
    def state(token: str) -> Answer:
        rater = rater_or_404(token)
        return jsonify(_screen(study, course.screen(rater))) if rater.agreed else abort(403)

    @app.post("/r/<token>/vote")
    def vote(token: str) -> Answer:
        rater = rater_or_404(token)
        if not rater.agreed:
            abort(403)
        return jsonify(_receipt(study, course.vote(rater, *_answer())))

    @app.get("/p/<name>.png")
    def image(name: str) -> Answer:
        if name not in images:
            abort(404)
        response = send_from_directory(folder / "images", f"{name}.png", mimetype="image/png", max_age=None)
        response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return response

    _guard(app, public)
    return app


def _guard(app: Flask, public: str | None) -> None:
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

    @app.errorhandler(Refused)
    def refused(error: Refused) -> tuple[Response, int]:
        return jsonify(error=str(error)), 409

    @app.errorhandler(HTTPException)
    def plain(error: HTTPException) -> tuple[Response, int]:
        """The status and its name; never a word of what was sent."""
        return Response(f"{error.code} {error.name}\n", mimetype="text/plain"), error.code or 500

    @app.errorhandler(Exception)
    def broken(error: Exception) -> tuple[Response, int]:
        app.logger.exception("a request failed")
        return Response("500 Internal Server Error\n", mimetype="text/plain"), 500


def _answer() -> tuple[int, str, int, int, float]:
    """The fields of the answer that was sent, each of its type; nothing is converted. 400 otherwise."""
    try:
        sent: Any = request.get_json()
    except (RecursionError, ValueError):  # nested thousandfold, or a number of thousands of digits
        abort(400)
    fields: dict[str, tuple[type, ...]] = {
        "n": (int,),
        "choice": (str,),
        "ms": (int,),
        "flips": (int,),
        "dpr": (int, float),
    }
    if not isinstance(sent, dict) or set(sent) != set(fields):
        abort(400)
    if any(isinstance(sent[key], bool) or not isinstance(sent[key], kinds) for key, kinds in fields.items()):
        abort(400)
    return sent["n"], sent["choice"], sent["ms"], sent["flips"], sent["dpr"]


def _screen(study: Study, screen: Screen) -> dict[str, Any]:
    """What the page is told. Neither the codecs nor which trials are checks."""

    def images(trial: Any) -> dict[str, Any] | None:
        if trial is None:
            return None
        scene = study.scene[trial.scene]
        names = {"original": scene.original, "a": scene.image_id(trial.first), "b": scene.image_id(trial.second)}
        return {"width": scene.width, "height": scene.height} | {
            key: f"{request.script_root}/p/{name}.png" for key, name in names.items()
        }

    return {
        "n": screen.n,
        "total": screen.total,
        "training": screen.training,
        "trial": images(screen.trial),
        "ahead": images(screen.ahead),
    }


def _receipt(study: Study, receipt: Receipt) -> dict[str, Any]:
    return {"counted": receipt.counted, "answer": receipt.answer, "screen": _screen(study, receipt.screen)}


def _consent(folder: Path) -> str:
    return (folder / CONSENT).read_text("utf-8")


def run(app: Flask, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until interrupted; `ready` is told the port once connections are taken. StudyError if it cannot listen."""
    import logging

    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of every request that waits its turn
    try:
        server = waitress.create_server(
            app,
            host=host,
            port=port,
            threads=8,
            connection_limit=1000,
            asyncore_use_poll=True,
            ident=None,
            max_request_body_size=1 << 20,
            max_request_header_size=1 << 15,
            channel_timeout=60,
        )
    except OSError as error:
        raise StudyError(
            f"cannot listen on {host} port {port} ({error.strerror or error}); try another --port"
        ) from error
    listening = getattr(server, "effective_listen", None)  # where the name stands for several addresses
    ready(int(listening[0][1] if listening else server.effective_port))
    try:
        server.run()
    finally:
        server.close()
