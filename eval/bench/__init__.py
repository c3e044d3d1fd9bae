"""`gencomp bench`: how long each stage of the codec takes."""

from .cli import bench as bench
