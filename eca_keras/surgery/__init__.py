"""Attention in models that someone else built."""

from typing import TYPE_CHECKING

from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.surgery.insert import insert_attention as insert_attention
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        insert=("insert_attention",),
    )
