"""Whether a setup works: keys, gateway, prices, the store of budgets, clock and telemetry, each really tried.

`run.py` asks, one file a question; `recommendations.py` says what follows, `layout.py` shows it.
"""

from .blocking import validate_setup
from .layout import print_validation_result
from .results import PerformanceMeasurement, ValidationCheck, ValidationResult
from .run import validate_setup_async

__all__ = [
    "PerformanceMeasurement",
    "ValidationCheck",
    "ValidationResult",
    "print_validation_result",
    "validate_setup",
    "validate_setup_async",
]
