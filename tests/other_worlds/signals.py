"""Noise and shapes in time. Arrays are (n, k): n samples in time, k columns; all noise has a variance of about 1."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

BURN_IN = 20
"samples of red noise that are thrown away"


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of ``x`` divided by their length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))


def pooled(x: np.ndarray, within: int) -> np.ndarray:
    """Means over a snippet of ``within`` samples."""
    return x.reshape(-1, within, *x.shape[1:]).mean(1)


def red(rng: np.random.Generator, n: int, k: int, lasting: float, df: float | None = None) -> np.ndarray:
    """AR(1) noise that is correlated for ``lasting`` samples; with ``df``, its shocks are Student's t."""
    shape, keeps = (n + BURN_IN, k), np.exp(-1 / lasting)
    shock = rng.standard_normal(shape) if df is None else rng.standard_t(df, shape) * np.sqrt((df - 2) / df)
    noise = lfilter([np.sqrt(1 - keeps**2)], [1, -keeps], shock.astype(np.float32), axis=0)
    return noise[BURN_IN:].astype(np.float32)


def red_between_cuts(rng: np.random.Generator, cut_n: np.ndarray, k: int, df: float, keeps: float) -> np.ndarray:
    """AR(1) noise with Student-t shocks that begins anew at each cut; ``keeps`` is its correlation from one to next."""
    shock = rng.standard_t(df, (len(cut_n), k)) / np.sqrt(df / (df - 2))
    noise, last, adds = np.empty_like(shock), shock[0], np.sqrt(1 - keeps**2)
    for i, new in enumerate(shock):
        last = new if i == 0 or cut_n[i] else keeps * last + adds * new
        noise[i] = last
    return noise


def pink(rng: np.random.Generator, n: int, k: int, power: float = 1.0) -> np.ndarray:
    """Noise whose spectral density falls as 1 / frequency**power, cut from a longer stretch."""
    longer = max(64, 1 << int(np.ceil(np.log2(n + 1))))
    frequency = np.fft.rfftfreq(longer)
    frequency[0] = frequency[1]
    height = frequency ** (-power / 2)
    shape = (len(frequency), k)
    spectrum = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * height[:, None]
    noise = np.fft.irfft(spectrum, longer, axis=0)[:n]
    return (noise / (np.sqrt(2 * (height**2).sum() * 2) / longer)).astype(np.float32)


def pink_to(rng: np.random.Generator, n: int, k: int, lowest: float) -> np.ndarray:
    """1/f noise, white below ``lowest`` cycles a sample; each column has exactly mean 0, variance 1."""
    frequency = np.fft.rfftfreq(n)
    height = np.zeros(len(frequency))
    height[1:] = np.maximum(frequency[1:], lowest) ** -0.5
    shape = (len(frequency), k)
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * height[:, None]
    noise = np.fft.irfft(spectrum, n=n, axis=0)
    return noise / np.maximum(noise.std(0), 1e-6)


def smooth(x: np.ndarray, deviation: float) -> np.ndarray:
    """``x`` under a Gaussian of that standard deviation in samples, mirrored at its end."""
    n, frequency = len(x), np.fft.rfftfreq(2 * len(x))
    passes = np.exp(-2 * (np.pi * frequency * deviation) ** 2).reshape(-1, *[1] * (x.ndim - 1))
    spectrum = np.fft.rfft(np.concatenate([x, x[::-1]]), axis=0)
    return np.fft.irfft(spectrum * passes, n=2 * n, axis=0)[:n]
