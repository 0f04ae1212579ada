"""Other programs' machinery around the client: each subpackage needs the extra of its name."""

__all__: list[str] = []
