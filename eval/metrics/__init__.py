"""Metrics of single images and of sets, and the one table that lists them."""
