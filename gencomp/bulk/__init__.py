"""Data sets, shard by shard: folders of images, WebDataset tar files and parquet files, coded, decoded or verified.

See README.md in this folder. Nothing here is imported by the codec; the coordinating process does not import torch.
"""
