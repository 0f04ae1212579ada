"""Whether a Helicone setup works, by the guide's name: the objects of `genops_helicone_async.validation`."""

from typing import TYPE_CHECKING

__all__ = [
    "PerformanceMeasurement",
    "ValidationCheck",
    "ValidationResult",
    "print_validation_result",
    "validate_setup",
    "validate_setup_async",
]

if TYPE_CHECKING:
    from genops_helicone_async.validation import (
        PerformanceMeasurement,
        ValidationCheck,
        ValidationResult,
        print_validation_result,
        validate_setup,
        validate_setup_async,
    )
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            import genops_helicone_async.validation

            return getattr(genops_helicone_async.validation, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
