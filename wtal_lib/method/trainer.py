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

from wtal_lib.method import losses, pseudo_labels
from wtal_lib.method.batches import Batch, Batches
from wtal_lib.method.config import Config
from wtal_lib.method.inference import whole_videos
from wtal_lib.method.pooling import arithmetic
from wtal_lib.method.pseudo_labels import OTHER, Confidence
from wtal_lib.method.reliability import claims, measure, shares
from wtal_lib.method.schedule import Name, Phase, alternate
from wtal_lib.method.state import BRANCHES, State, resume, save

Truth = Callable[[str], np.ndarray]
"a video's ground truth, (t, c) bool on its snippets: read by the supervised bound and the pseudo-labels' record only"
Teaching = dict[str, dict[str, Confidence]]
"by taught student and video, confidences (t, k): a column a class that the video is labelled with"


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

    With a ``folder``, a checkpoint is kept after every phase, and a run that was killed goes on from its last one to
    the very same result. ``on_phase`` is called after every phase, before its checkpoint, which keeps what it adds to
    the history; logs, plots and validation live there.

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
            if phase.name != "warmup" and state.reliability is None:
                state.reliability = measure(config, batches, state.averages)
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
    began, loading = time.perf_counter(), 0.0
    steps = range(phase.start, phase.start + phase.steps)
    teaching = teach(config, batches, state, phase, sorted({name for step in steps for name in batches.names(step)}))
    seconds_teaching = time.perf_counter() - began
    sums: dict[str, float] = {}
    counts: dict[str, Counter[str]] = {student: Counter() for student in phase.students}
    for student in phase.students:
        state.evidence[student] = {}
    for step in steps:
        asked = time.perf_counter()
        batch = batches[step]
        loading += time.perf_counter() - asked
        for student in phase.students:
            labels, right = _labels(config, batches, student, batch, teaching.get(student), truth)
            counts[student].update(right)
            terms = update(config, state, student, batch, labels, step)
            for name, value in terms.items():
                sums[f"{student}.{name}"] = sums.get(f"{student}.{name}", 0.0) + value / phase.steps
            if not all(np.isfinite(value) for value in terms.values()):
                raise FloatingPointError(_not_a_number(student, step, batch, terms, folder))
    return {
        "phase": phase.index,
        "name": phase.name,
        "updates": phase.start + phase.steps,
        "losses": sums,
        "pseudo_labels": {student: dict(count) for student, count in counts.items()},
        "reliability": state.reliability,
        "warnings": [f"{s}: the rule gave no label" for s in phase.taught if counts[s]["labels"] == 0],
        "seconds_teaching": seconds_teaching,
        "seconds_loading": loading,
        "seconds": time.perf_counter() - began,
    }


def _not_a_number(student: str, step: int, batch: Batch, terms: Mapping[str, float], folder: Path | None) -> str:
    good = f"the last good checkpoint is {folder / 'last.safetensors'}" if folder else "no checkpoint was kept"
    return (
        f"a loss of the {student} branch is not a number at update {step} ({dict(terms)}), videos"
        f" {', '.join(batch.names)}; {good}. Look for extreme features in these videos, or lower the learning rate"
    )


def teach(config: Config, batches: Batches, state: State, phase: Phase, names: Sequence[str]) -> Teaching:
    """The B and F steps' decision: confidences of the frozen teachers on whole videos, for each taught student."""
    rule, weight = config.pseudo_labels, shares(state.reliability, config.pseudo_labels.earned)
    teaching: Teaching = {}
    for student in phase.taught:
        heard: list[Name] = [OTHER[student]] if rule.word == "teacher" else list(BRANCHES)
        by_branch = {branch: _evidence(config, batches, state, branch, names) for branch in heard}
        teaching[student] = {
            name: pseudo_labels.confidence(student, {b: of[name] for b, of in by_branch.items()}, rule, weight)
            for name in names
        }
    return teaching


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
    batch: Batch,
    teaching: Mapping[str, Confidence] | None,
    truth: Truth | None,
) -> tuple[pseudo_labels.Labels | None, dict[str, int]]:
    """The labels that the student learns from beside the video labels, and their counts against the ground truth."""
    if teaching is None and not config.training.supervised:
        return None, {}
    columns = [batches.labelled(name) for name in batch.names]
    real = None
    if truth is not None:
        real = _drawn(batch, columns, [truth(name)[:, k] for name, k in zip(batch.names, columns, strict=True)]) > 0
    if teaching is None:
        assert real is not None
        return pseudo_labels.Labels(real.float(), batch.mask[:, :, None] & (batch.y > 0)[:, None, :]), {}
    background, foreground = (
        _drawn(batch, columns, [teaching[name][i].numpy() for name in batch.names]) for i in range(2)
    )
    kinds = pseudo_labels.kinds_taught(student, config.pseudo_labels)
    labels = pseudo_labels.label(Confidence(background, foreground), batch.mask, batch.y, config.pseudo_labels, kinds)
    counts = {} if real is None else pseudo_labels.quality(labels, real, batch.mask, batch.y)
    return labels, {"labels": int(labels.keep.sum()), **counts}


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
        output = branch((batch.x if student == "cbp" else batch.z).to(device), mask)
    video_label_terms = getattr(branch, "video_label_terms", losses.video_label_terms)
    terms = video_label_terms(output, mask, y, config.training.pool)
    if labels is not None:
        target, keep = labels.target.to(device), labels.keep.to(device)
        term = losses.distillation(output, target, keep, y, config.pseudo_labels.into)
        terms["distill"] = _claim(config, state, student) * term
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


def _claim(config: Config, state: State, student: Name) -> float:
    """The weight that those who teach a student have earned: a mean of both branches holds their shares already."""
    rule = config.pseudo_labels
    if config.training.supervised or rule.word == "mean":
        return 1.0
    claim = claims(state.reliability, rule.earned)
    return claim[OTHER[student]] if rule.word == "teacher" else min(claim.values())


def _seed(key: tuple[int, ...], device: torch.device) -> None:
    """Make the device's random numbers depend on ``key`` alone; ``torch.manual_seed`` takes 0.6 ms for this."""
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
