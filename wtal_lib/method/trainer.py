"""Phases x batches to trained branches: the alternating trainer, deterministic under its seed."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wtal_lib.compute import arithmetic, deterministic
from wtal_lib.data.batches import Batch, Batches
from wtal_lib.method import losses, pseudo_labels
from wtal_lib.method.config import Config
from wtal_lib.method.models import whole_videos
from wtal_lib.method.pseudo_labels import OTHER, Confidence, Labels
from wtal_lib.method.reliability import claims, measure, settled, shares
from wtal_lib.method.schedule import Name, Phase, alternate
from wtal_lib.method.state import BRANCHES, State

Truth = Callable[[str], np.ndarray]
"a video's ground truth, (t, c) bool on its snippets: read by the supervised bound and the pseudo-labels' record only"
Teaching = dict[Name, dict[str, Confidence | Labels]]
"by taught student and video, confidences or labels (t, k): a column a class that the video is labelled with"


def train(
    config: Config,
    batches: Batches,
    state: State,
    *,
    truth: Truth | None = None,
    on_phase: Callable[[Phase, State], None] | None = None,
) -> State:
    """Carry the run from where it stands to its end, in place: warm-up, then B, F, B, F …

    The branches' reliability is measured after the warm-up, and again before each pair of steps until both have earned
    their whole say: so long the held-out videos stay out of training, and one that learns late is not taken for blind.
    ``on_phase`` is called after every phase: logs, plots, validation and checkpoints live there
    (:func:`wtal_lib.runs.checkpoints.train`).

    Raises:
        FloatingPointError: a loss that is not a number, with the step and the batch's videos.
        ValueError: the supervised bound without ground truth.

    >>> from wtal_lib.method import fresh, preset
    >>> from wtal_lib.runs import Experiment, Spec, open_data
    >>> config = preset("full", profile="ci", schedule__warmup=2, schedule__period=1, schedule__rounds=1)
    >>> run = Experiment(config, open_data(Spec(source="simulated", profile="ci")))
    >>> state = train(run.config, run.batches, fresh(run.config, run.batches, run.text(), run.logit_scale))
    >>> [entry["name"] for entry in state.history]
    ['warmup', 'warmup', 'B', 'F']
    """
    if config.training.supervised and truth is None:
        raise ValueError("the supervised bound trains on ground truth, and none was given")
    with deterministic(config.training.threads):
        for phase in alternate(config.schedule):
            if phase.index < state.done:
                continue
            if phase.name != "warmup" and phase.start >= batches.warmup and not settled(config, state.reliability):
                state.reliability = measure(config, batches, state.averages)
                batches.warmup = phase.start + (0 if settled(config, state.reliability) else phase.steps)
            students = tuple(one for one in phase.students if one in state.optimizers)  # the others are frozen
            phase = replace(phase, students=students, taught=tuple(one for one in phase.taught if one in students))
            state.history.append(_run_phase(config, batches, state, phase, truth))
            state.done = phase.index + 1
            if on_phase is not None:
                on_phase(phase, state)
    return state


def _run_phase(config: Config, batches: Batches, state: State, phase: Phase, truth: Truth | None) -> dict[str, Any]:
    """Train the phase's students, ``phase.steps`` updates each, and return its entry in the history."""
    began, loading = time.perf_counter(), 0.0
    steps = range(phase.start, phase.start + phase.steps * bool(phase.students))
    teaching = teach(config, batches, state, phase, sorted({name for step in steps for name in batches.names(step)}))
    teaching_done = time.perf_counter()
    sums: dict[str, float] = defaultdict(float)
    counts: dict[Name, Counter[str]] = {student: Counter() for student in phase.students}
    state.evidence |= {student: {} for student in phase.students}
    for step in steps:
        asked = time.perf_counter()
        batch = batches[step]
        loading += time.perf_counter() - asked
        for student in phase.students:
            labels, right = _labels(config, batches, student, batch, teaching, truth)
            counts[student].update(right)
            terms = update(config, state, student, batch, labels, step)
            for name, value in terms.items():
                sums[f"{student}.{name}"] += value / phase.steps
            if not np.isfinite(list(terms.values())).all():
                what = f"a loss of the {student} branch is not a number at update {step} ({terms})"
                remedy = "look for extreme features in these videos, or lower the learning rate"
                raise FloatingPointError(f"{what}, videos {', '.join(batch.names)}; {remedy}")
    return {
        "phase": phase.index,
        "name": phase.name,
        "updates": phase.start + phase.steps,
        "losses": dict(sums),
        "pseudo_labels": {student: dict(count) for student, count in counts.items()},
        "reliability": state.reliability,
        "warnings": [f"{s}: the rule gave no label" for s in phase.taught if counts[s]["labels"] == 0],
        "seconds_teaching": teaching_done - began,
        "seconds_loading": loading,
        "seconds": time.perf_counter() - began,
    }


def teach(config: Config, batches: Batches, state: State, phase: Phase, names: Sequence[str]) -> Teaching:
    """Confidences by which a B or F step labels whole videos, from frozen teachers, for each taught student."""
    rule, weight = config.pseudo_labels, shares(state.reliability, config.pseudo_labels.earned)
    teaching: Teaching = {}
    own = pseudo_labels.rule(rule)
    for student in phase.taught:
        teachers = (OTHER[student],) if rule.word == "teacher" else BRANCHES
        known = {branch: _evidence(config, batches, state, branch, names) for branch in teachers}
        teaching[student] = {
            name: own(student, {branch: known[branch][name] for branch in known}, rule, weight) for name in names
        }
    return teaching


def _evidence(
    config: Config, batches: Batches, state: State, branch: Name, names: Sequence[str]
) -> dict[str, Float[Tensor, "t k"]]:
    """Evidence of a branch's running mean for the labelled classes of whole videos; cached until the branch trains."""
    cache, width = state.evidence[branch], round(config.pseudo_labels.smoothing / batches.grid.step)
    new = [name for name in names if name not in cache]
    rows = partial(batches.rows, branch)
    for name, output in whole_videos(state.averages[branch], new, rows, config.training.precision):
        score_1tk = output.score()[:, :, batches.labelled(name)]
        cache[name] = pseudo_labels.evidence(score_1tk, torch.ones(score_1tk.shape[:2], dtype=torch.bool), width)[0]
    return cache


def _labels(
    config: Config, batches: Batches, student: Name, batch: Batch, teaching: Teaching, truth: Truth | None
) -> tuple[Labels | None, dict[str, int]]:
    """The labels that the student learns from beside the video labels, and their counts against the ground truth."""
    if student not in teaching and not config.training.supervised:
        return None, {}
    real = None if truth is None else _drawn(batches, batch, lambda name: truth(name)[:, batches.labelled(name)]) > 0
    if config.training.supervised:
        assert real is not None
        return Labels(real.float(), batch.mask[:, :, None] & (batch.y > 0)[:, None, :]), {}
    given = teaching[student]
    first = _drawn(batches, batch, lambda name: given[name][0].float().numpy())
    alike = all(given[name][0] is given[name][1] for name in batch.names)  # most rules have one confidence for both
    second = first if alike else _drawn(batches, batch, lambda name: given[name][1].float().numpy())
    if isinstance(given[batch.names[0]], Labels):
        labels = Labels(first, second > 0)
    else:
        labels = pseudo_labels.label(Confidence(first, second), batch.mask, batch.y, config.pseudo_labels)
    labels = pseudo_labels.restricted(labels, pseudo_labels.kind_weights(student, config.pseudo_labels))
    counts = {} if real is None else pseudo_labels.quality(labels, real, batch.mask, batch.y)
    return labels, {"labels": int(labels.keep.sum()), **counts}


def _drawn(batches: Batches, batch: Batch, rows: Callable[[str], np.ndarray]) -> Float[Tensor, "b t c"]:
    """Whole videos' rows (t, k) of their own classes at the positions that a batch drew; zeros for all others."""
    drawn = np.zeros((*batch.mask.shape, batch.y.shape[1]), dtype=np.float32)
    for i, name in enumerate(batch.names):
        index_t = batch.index[i, batch.mask[i]].numpy()
        drawn[i, : len(index_t), batches.labelled(name)] = rows(name)[index_t].T
    return torch.from_numpy(drawn)


def update(
    config: Config, state: State, student: Name, batch: Batch, labels: Labels | None, step: int
) -> dict[str, float]:
    """The terms of one update of one branch, after which its weights and their running mean have moved."""
    branch, optimizer = state.branches[student].train(), state.optimizers[student]
    device = next(branch.parameters()).device
    random = int(np.random.SeedSequence((config.seed, BRANCHES.index(student), step)).generate_state(1)[0])
    (torch.cuda if device.type == "cuda" else torch.default_generator).manual_seed(random)
    mask, y = batch.mask.to(device), batch.y.to(device)
    with arithmetic(config.training.precision, device.type):
        output = branch((batch.x if student == "cbp" else batch.z).to(device), mask)
    terms = getattr(branch, "video_label_terms", losses.video_label_terms)(output, mask, y, config.training.pool)
    if labels is not None:
        rule, bound = config.pseudo_labels, config.training.supervised
        weights = (1.0, 1.0) if bound else pseudo_labels.kind_weights(student, rule)
        term = losses.distillation(output, Labels(*(part.to(device) for part in labels)), y, rule.into, weights)
        terms["distill"] = _claim(config, state, student) * term
    terms |= {name: loss(output, mask, y) for name, loss in state.extra.items()}
    optimizer.zero_grad(set_to_none=True)
    losses.total(terms, config.losses, getattr(config, student)).backward()
    optimizer.step()
    with torch.no_grad():
        means: list[Tensor] = list(state.averages[student].parameters())
        present: list[Tensor] = list(branch.parameters())
        # early on the mean forgets faster, so that it is never dominated by the random start
        decay = min(config.training.average, step / (step + 10))
        torch._foreach_lerp_(means, present, 1 - decay)
    return dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))


def _claim(config: Config, state: State, student: Name) -> float:
    """The weight that those who teach a student have earned; a mean of both branches holds their shares already."""
    if config.training.supervised or config.pseudo_labels.word == "mean":
        return 1.0
    claim = claims(state.reliability, config.pseudo_labels.earned)
    return claim[OTHER[student]] if config.pseudo_labels.word == "teacher" else min(claim.values())
