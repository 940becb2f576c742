"""Attention in models that someone else built."""

from eca_keras.surgery.insert import insert_attention

__all__ = ["insert_attention"]
