"""What is made once, however many threads ask for it at the same moment."""

import os
import threading

making = threading.RLock()
"""Held by who makes what others would make, too: a codec, a session of a run-time."""

if hasattr(os, "register_at_fork"):  # a fork waits until nothing is half made, or its child would wait for ever
    os.register_at_fork(before=making.acquire, after_in_parent=making.release, after_in_child=making.release)
