"""Annotations in COCO's format."""
