"""What a run was planned to take, in words for people."""

from core.progress import Forecast


def words(forecast: Forecast) -> str:
    """One line for a job's history."""
    seconds = "" if forecast.seconds is None else f", about {_time(forecast.seconds)} of work"
    return f"planned: {memory(forecast)}, groups of {forecast.group}{seconds}"


def memory(forecast: Forecast) -> str:
    """The part about memory, also for an error's message."""
    peak, budget = forecast.peak_bytes, forecast.budget_bytes
    return f"{gigabytes(peak)} at its peak, of a budget of {gigabytes(budget)}"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
