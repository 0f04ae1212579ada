"""Answers in an SQLite file of this machine, for any number of processes; its own thread reads and writes it."""

from .store import DEFAULT_MAX_BYTES, DiskAnswers, default_path

__all__ = ["DEFAULT_MAX_BYTES", "DiskAnswers", "default_path"]
