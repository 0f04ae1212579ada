"""Providers by their guide's names, one module each."""

__all__ = ["helicone", "helicone_validation"]
