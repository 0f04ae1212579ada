"""The one error a caller gets when several attempts have failed: the target's own, or a summary of all."""

from __future__ import annotations

from .._rules.retry import Failure
from ..errors import AllProvidersFailedError, DeadlineExceededError, HeliconeError
from .ticket import Target


def final_error(failures: list[Failure], targets: list[Target]) -> HeliconeError:
    """The error the caller gets."""
    last = failures[-1].error
    asked = {failure.candidate for failure in failures}
    if len(asked) == 1 or isinstance(last, DeadlineExceededError):
        return last
    stories = "; ".join(
        f"{targets[f.candidate].endpoint.provider}: {f.error.message}"
        for f in {failure.candidate: failure for failure in failures}.values()
    )
    errors = [failure.error for failure in failures]
    waits = [error.retry_after_s for error in errors if error.retry_after_s is not None]
    summary = AllProvidersFailedError(
        f"none of {len(asked)} providers answered: {stories}",
        request_id=last.request_id,
        status_code=last.status_code,
        http_status=last.http_status,
        retry_safe=any(error.retry_safe for error in errors),
        retry_after_s=min(waits, default=None),
        throttled=all(error.throttled for error in errors),
        billed="maybe" if any(error.billed != "no" for error in errors) else "no",
        provider=last.provider,
        model=last.model,
        code=last.code,
    )
    summary.__cause__ = last
    return summary


__all__ = ["final_error"]
