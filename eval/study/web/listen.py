"""The server that carries the application: waitress, on one address, until it is interrupted.

Its threads see whole requests only, so that slow clients cost a connection each and no more; these are many, and given
up before raters go short of them.
"""

import contextlib
import functools
import ipaddress
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from flask import Flask

from ..plan import StudyError

MOST_FILES, SPARE_FILES = 8192, 64  # connections are files; the others are the database, images and libraries
REQUEST_SECONDS = 120.0  # in which a request must have come in whole, however its bytes trickle
CROWDED = 0.9  # the share of the connections beyond which the slowest are closed for new ones


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(app: Flask, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `ready` is told the port once connections are taken. StudyError if it cannot
    listen."""
    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of every request that waits its turn
    limits = {"connection_limit": _open_files() - SPARE_FILES, "channel_timeout": 60, "cleanup_interval": 1}
    limits |= {"max_request_body_size": 1 << 20, "max_request_header_size": 1 << 15}
    try:
        server = waitress.create_server(
            app, host=host, port=port, threads=8, asyncore_use_poll=True, ident=None, **limits
        )
    except OSError as error:
        why = f"cannot listen on {host} port {port} ({error.strerror or error})"
        raise StudyError(f"{why}; try another --port") from error
    listening = getattr(server, "effective_listen", None)  # where the name stands for several addresses
    for one in [*server.map.values()] if listening else [server]:
        if hasattr(one, "active_channels"):
            one.maintenance = functools.partial(_tend, one, one.maintenance, {})
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ready(int(listening[0][1] if listening else server.effective_port))
    try:
        server.run()
    finally:
        server.close()


def _open_files() -> int:
    """Files that this process may have open, up to MOST_FILES; the soft limit is raised as far."""
    try:
        import resource
    except ImportError:  # Windows
        return 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _tend(server: Any, usual: Callable[[float], None], begun: dict[Any, tuple[Any, float]], now: float) -> None:
    """Once a second: close what idles, what has sent a part of a request for too long, and, where connections run out,
    those that have done so longest. begun: by connection, the request that it sends and when that was first seen."""
    usual(now)
    waiting = {id(channel): channel for channel in server.active_channels.values() if not channel.requests}
    for key in begun.keys() - waiting.keys():
        del begun[key]
    for key, channel in waiting.items():
        if channel.request is None or begun.get(key, (None,))[0] is not channel.request:
            begun[key] = channel.request, now
        elif now - begun[key][1] > REQUEST_SECONDS:
            channel.will_close = True
    crowd = len(server.active_channels) - int(CROWDED * server.adj.connection_limit)
    if crowd > 0:
        for key in sorted(waiting, key=lambda key: (begun[key][0] is None, begun[key][1]))[:crowd]:
            waiting[key].will_close = True
