"""SIGTERM in tests: sent within a validation, and given back to pytest after a run took it."""

import contextlib
import signal

import pytest


@contextlib.contextmanager
def sigterm_kept():
    """Give SIGTERM back afterwards to whoever had it."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def told_to_end(number: int):
    """Within it, SIGTERM comes in the validation of a number, counted from 1."""
    from quorum import validations  # brings torch, which most tests do without

    calls, score = [], validations.mean_dice

    def told(*args):
        calls.append(args)
        if len(calls) == number:
            signal.raise_signal(signal.SIGTERM)
        return score(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validations, "mean_dice", told)
        yield
