"""Layers that several networks of ours share."""
