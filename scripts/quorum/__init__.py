"""Quorum: from many readers' marks on public medical images to trained, evaluated models."""

__version__ = "0.1.0"
