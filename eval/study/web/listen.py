"""The server that carries the application: waitress, on one address, until it is interrupted."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from flask import Flask

from ..plan import StudyError


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
