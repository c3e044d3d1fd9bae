"""`gencomp demo`, and sheets of images for documents."""

from .cli import demo as demo
