"""Whether times are seconds: what they would have to be where videos end long before them, or long after."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

BEYOND = 1.3
"times the end of a video at which most videos' last times are no seconds"
MANY = 100
"videos from which the median reach of a dataset tells snippets from seconds"


def likely_unit(latest_b: Float[np.ndarray, " b"], end_b: Float[np.ndarray, " b"]) -> tuple[str, str]:
    """Likely unit of the latest time of each video, and how it was told from where videos end (s); "" for seconds."""
    use = np.isfinite(end_b) & (end_b > 0) & np.isfinite(latest_b) & (latest_b > 0)
    latest, end = latest_b[use], end_b[use]
    if not len(latest):
        return "", ""
    times = float(np.median(latest / end))
    if times > BEYOND and (latest > BEYOND * end).mean() > 0.5:
        return unit_of(times), f"most videos have times beyond their end, by a factor of {times:.3g}"
    for top, unit, least in ((1, "fractions", 2), (100, "percents", 110)):
        longer = latest[end > least]
        odd = top > 1 or (latest % 1 > 0).any()  # whole seconds are no fractions
        if odd and len(longer) > 2 and 0.9 * top < longer.max() <= latest.max() <= top * (1 + 1e-6):
            return f"{unit} of the duration", f"none ends after {top}, in videos of {np.median(end):.0f} s"
    return "", ""


def unit_beside(latest_b: Float[np.ndarray, " b"], reach: float) -> tuple[str, str]:
    """As :func:`likely_unit`, from the median over a dataset's videos of the last annotated second, ``reach``."""
    times = float(np.median(latest_b)) / reach if len(latest_b) > 2 else 1.0
    if times > 8 or (len(latest_b) >= MANY and 1.4 < times < 1.8):
        return unit_of(times), f"they reach {times:.3g} times as far as those of this dataset do"
    return "", ""


def unit_of(times: float) -> str:
    """The unit of which there are so many in a second."""
    return "snippets" if times < 5 else "frames" if times < 300 else "milliseconds"
