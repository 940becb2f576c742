"""This library's networks in other libraries, each an optional package."""
