"""Coding and measuring: images in, records on disk out."""
