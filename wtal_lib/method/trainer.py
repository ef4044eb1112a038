"""Phases x batches to trained branches: the alternating trainer, deterministic under its seed, resumable."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wtal_lib.data.batches import Batch, Batches
from wtal_lib.method import losses, pseudo_labels
from wtal_lib.method.config import Config
from wtal_lib.method.pooling import arithmetic
from wtal_lib.method.predict import whole_videos
from wtal_lib.method.schedule import Name, Phase, alternate
from wtal_lib.method.state import BRANCHES, State, resume, save

OTHER: dict[Name, Name] = {"cbp": "vlp", "vlp": "cbp"}
Truth = Callable[[str], np.ndarray]
"a video's ground truth, (t, c) bool on its snippets: read by the supervised bound and the pseudo-labels' record only"
Confidence = dict[str, dict[str, Tensor]]
"by video and taught student, (t, k) in [0, 1]: a column a class that the video is labelled with"


def train(
    config: Config,
    batches: Batches,
    state: State,
    *,
    truth: Truth | None = None,
    folder: Path | None = None,
    on_phase: Callable[[Phase, State], None] | None = None,
) -> State:
    """Carry the run to its end, in place: warm-up, then B, F, B, F …

    With a ``folder``, a checkpoint is kept after every phase; a killed run goes on from its last one to the same bits.
    ``on_phase`` is called before that checkpoint, which keeps what it adds to the history: logs, plots, validation.

    Raises:
        FloatingPointError: a loss that is not a number, with the step, the batch's videos and the last good checkpoint.
        ValueError: a checkpoint of another configuration; the supervised bound without ground truth.
    """
    if config.training.supervised and truth is None:
        raise ValueError("the supervised bound trains on ground truth, and none was given")
    if folder is not None:
        resume(config, batches, state, folder)
    with deterministic(config.training.threads):
        for phase in alternate(config.schedule):
            if phase.index < state.done:
                continue
            entry = _run_phase(config, batches, state, phase, truth, folder)
            state.done = phase.index + 1
            state.history.append(entry)
            if on_phase is not None:
                on_phase(phase, state)
            if folder is not None:
                save(config, batches, state, folder)
    return state


def _run_phase(
    config: Config, batches: Batches, state: State, phase: Phase, truth: Truth | None, folder: Path | None
) -> dict[str, Any]:
    """One phase's record; its students have had ``phase.steps`` more updates."""
    began = time.perf_counter()
    entry: dict[str, Any] = {"phase": phase.index, "name": phase.name, "updates": phase.start + phase.steps}
    steps = range(phase.start, phase.start + phase.steps)
    names = sorted({name for step in steps for name in batches.names(step)})
    confidence = teach(config, batches, state, phase, names) if phase.taught else {}
    entry |= {"seconds_teaching": time.perf_counter() - began, "seconds_loading": 0.0}
    sums: dict[str, float] = {}
    counts: dict[str, Counter[str]] = {}
    for student in phase.students:
        state.evidence[student] = {}
    for step in steps:
        asked = time.perf_counter()
        batch = batches[step]
        entry["seconds_loading"] += time.perf_counter() - asked
        for student in phase.students:
            labels, right = _labels(config, batches, student, phase, batch, confidence, truth)
            counts.setdefault(student, Counter()).update(right)
            terms = update(config, state, student, batch, labels, step)
            for name, value in terms.items():
                sums[f"{student}.{name}"] = sums.get(f"{student}.{name}", 0.0) + value / phase.steps
            if not all(np.isfinite(value) for value in terms.values()):
                raise FloatingPointError(_not_a_number(student, step, batch, terms, folder))
    return {
        **entry,
        "losses": sums,
        "pseudo_labels": {key: dict(value) for key, value in counts.items()},
        "seconds": time.perf_counter() - began,
    }


def _not_a_number(student: str, step: int, batch: Batch, terms: Mapping[str, float], folder: Path | None) -> str:
    good = f"the last good checkpoint is {folder / 'last.safetensors'}" if folder else "no checkpoint was kept"
    return (
        f"a loss of the {student} branch is not a number at update {step} ({dict(terms)}), videos"
        f" {', '.join(batch.names)}; {good}. Look for extreme features in these videos, or lower the learning rate"
    )


def teach(config: Config, batches: Batches, state: State, phase: Phase, names: Sequence[str]) -> Confidence:
    """The B and F steps' decision: confidence of the frozen teachers on whole videos, for each taught student."""
    confidence: Confidence = {name: {} for name in names}
    for student in phase.taught:
        teacher = _evidence(config, batches, state, OTHER[student], names)
        alone = config.pseudo_labels.confidence == "teacher"
        own = {} if alone else _evidence(config, batches, state, student, names)
        for name in names:
            confidence[name][student] = pseudo_labels.confidence(teacher[name], own.get(name), config.pseudo_labels)
    return confidence


def _evidence(
    config: Config, batches: Batches, state: State, branch: Name, names: Sequence[str]
) -> dict[str, Float[Tensor, "t k"]]:
    """Evidence of a branch's running mean for the labelled classes of whole videos; cached until the branch trains."""
    cache, width = state.evidence[branch], round(config.pseudo_labels.smoothing / batches.grid.step)
    new = [name for name in names if name not in cache]
    outputs = whole_videos(state.averages[branch], new, partial(batches.rows, branch), config.training.precision)
    for name, output in outputs:
        score_1tk = output.score()[:, :, batches.labelled(name)]
        cache[name] = pseudo_labels.evidence(score_1tk, torch.ones(score_1tk.shape[:2], dtype=torch.bool), width)[0]
    return cache


def _labels(
    config: Config,
    batches: Batches,
    student: Name,
    phase: Phase,
    batch: Batch,
    confidence: Confidence,
    truth: Truth | None,
) -> tuple[pseudo_labels.Labels | None, dict[str, int]]:
    """The labels that the student learns from beside the video labels, and their counts against the ground truth."""
    columns = [batches.labelled(name) for name in batch.names]
    real = None
    if truth is not None:
        real = _drawn(batch, columns, [truth(name)[:, k] for name, k in zip(batch.names, columns, strict=True)]) > 0
    if config.training.supervised and real is not None:
        keep = batch.mask[:, :, None] & (batch.y > 0)[:, None, :]
        return pseudo_labels.Labels(real.float(), keep), {}
    if student not in phase.taught:
        return None, {}
    one = config.pseudo_labels.sides == "one"  # B teaches VLP background alone, F teaches CBP foreground alone
    sides = (not one or student == "vlp", not one or student == "cbp")
    score = _drawn(batch, columns, [confidence[name][student].numpy() for name in batch.names])
    labels = pseudo_labels.label(score, batch.mask, batch.y, config.pseudo_labels, sides)
    return labels, {} if real is None else pseudo_labels.quality(labels, real, batch.mask, batch.y)


def _drawn(batch: Batch, columns: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> Float[Tensor, "b t c"]:
    """Whole videos' rows (t, k) of some classes at the positions that a batch drew; zeros for all other classes."""
    drawn = np.zeros((*batch.mask.shape, batch.y.shape[1]), dtype=np.float32)
    index_bt, length_b = batch.index.numpy(), batch.mask.sum(dim=1).tolist()
    for i, length in enumerate(length_b):
        drawn[i, :length, columns[i]] = rows[i][index_bt[i, :length]].T
    return torch.from_numpy(drawn)


def update(
    config: Config, state: State, student: Name, batch: Batch, labels: pseudo_labels.Labels | None, step: int
) -> dict[str, float]:
    """The terms of one update of one branch, after which its weights and their running mean have moved."""
    branch, optimizer = state.branches[student].train(), state.optimizers[student]
    device = next(branch.parameters()).device
    _seed((config.seed, BRANCHES.index(student), step), device)
    mask, y = batch.mask.to(device), batch.y.to(device)
    with arithmetic(config.training.precision, device.type):
        logit, attention = branch((batch.x if student == "cbp" else batch.z).to(device), mask)
    terms = losses.video_label_terms(logit, attention, mask, y, config.training.pool)
    if labels is not None:
        target, keep = labels.target.to(device), labels.keep.to(device)
        terms["distill"] = losses.distillation(logit, attention, target, keep, config.pseudo_labels.into)
    optimizer.zero_grad(set_to_none=True)
    losses.total(terms, config.losses).backward()
    optimizer.step()
    with torch.no_grad():
        means: list[Tensor] = list(state.averages[student].parameters())
        weights: list[Tensor] = list(branch.parameters())
        # early on the mean forgets faster, so that it is never dominated by the random start
        decay = min(config.training.average, step / (step + 10))
        torch._foreach_lerp_(means, weights, 1 - decay)
    return dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))


def _seed(key: tuple[int, ...], device: torch.device) -> None:
    """Seed the device's random numbers by ``key`` alone; ``torch.manual_seed`` takes 0.6 ms for this."""
    number = int(np.random.SeedSequence(key).generate_state(1)[0])
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Deterministic kernels, a random state and a number of threads of our own; the caller's are given back."""
    filling: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), filling.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        torch.set_num_threads(threads or before[1])
        filling.fill_uninitialized_memory = False  # nothing here reads what it did not write
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.set_num_threads(before[1])
            filling.fill_uninitialized_memory = before[2]
