"""A run looked at again: its branches restored from the checkpoint, scored, and localized under other rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import replacing
from wtal_lib.method import predict
from wtal_lib.method.config import Config
from wtal_lib.method.localize import localize
from wtal_lib.method.schedule import alternate
from wtal_lib.method.state import State, fresh, resume
from wtal_lib.runs import records
from wtal_lib.runs.run import Scores, Task, chosen_device, run
from wtal_lib.runs.sources import Data
from wtal_lib.score.evaluate import report
from wtal_lib.settings import digest, replaced, to_dict
from wtal_lib.studies.tables import score

RULES: dict[str, dict[str, dict[str, object]]] = {
    "fusion": {
        "product": {"fusion": "product"},
        "maximum": {"fusion": "max"},
        "sum, 70 % CBP": {"cbp_share": 0.7},
        "sum, 30 % CBP": {"cbp_share": 0.3},
    },
    "cut levels": {
        "half as many": {"localize__thresholds": 10},
        "snippets cut in four": {"localize__upsample": 4},
    },
    "segment score": {
        "without the video's score": {"localize__video_weight": 0.0},
        "without the contrast's margins": {"localize__outer": 0.0},
    },
    "overlaps": {
        "hard suppression": {"localize__nms": "hard"},
        "all kept": {"localize__nms": "none"},
    },
}
"Rules that training knows nothing of, by what they are about: fields that are changed at inference alone"


def restored(
    config: Config, data: Data, store: Path, progress: Callable[[str], None] | None = None
) -> tuple[Task, State]:
    """The task of a run and its branches as they ended; computed where the store lacks the run.

    A run that trains is computed anew where its checkpoint is missing: a fresh clone has the records alone.

    Raises:
        ValueError, OSError, FloatingPointError: as :func:`wtal_lib.runs.run.run`.
    """
    task = Task(config, data, chosen_device("auto"))
    folder = store / task.identity
    kept = (folder / "last.safetensors").is_file() or not list(alternate(config.schedule))
    run(config, data, folder, curve=False, anew=not kept, progress=progress)
    state = fresh(config, task.batches, task.text(), task.logit_scale, task.device)
    resume(config, task.batches, state, folder)
    return task, state


def scores(config: Config, data: Data, store: Path) -> tuple[Task, Scores]:
    """The task of a run and what each of its branches, and both together, say of every test video."""
    task, state = restored(config, data, store)
    return task, task.scores(state)


def ruled(
    config: Config, data: Data, store: Path, rules: Mapping[str, Mapping[str, Mapping[str, object]]] = RULES
) -> pd.DataFrame:
    """The fused mAP of one run under its own rules and under others: question, row, seed, :func:`tables.score`.

    Nothing is trained again, and what was scored once under a set of rules is kept beside the run's record.
    """
    asked = [(question, row, fields) for question, of in rules.items() for row, fields in of.items()]
    place = store / Task(config, data).identity / "rules.json"
    known, rows = _kept(place), []
    said: tuple[Task, Scores] | None = None
    for question, row, fields in [("", "full", {}), *asked]:
        changed = replaced(config, **fields)
        key = digest([changed.fusion, changed.cbp_share, to_dict(changed.localize), records.method_digest()])
        if key not in known:
            said = said or scores(config, data, store)
            known[key] = _headline(changed, *said)
        rows.append({"question": question, "row": row, "seed": config.seed, **known[key]})
    if said is not None:
        with replacing(place) as file:
            file.write(json.dumps(known).encode())
    return pd.DataFrame(rows)


def _kept(place: Path) -> dict[str, Any]:
    """What was written there before; nothing where that is missing or damaged."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _headline(config: Config, task: Task, said: Scores) -> dict[str, float]:
    """The fused scores of a run under the rules of ``config``, percent."""
    videos = [predict.fuse([said["cbp"][video], said["vlp"][video]], config) for video in said["cbp"]]
    found = localize(videos, config.localize, task.batches.grid, task.batches.classes)
    name = get_dataset(config.dataset).headline.name
    scored = report(found, task.data.annotations, [name])["protocols"]
    return score({"metrics": {"fused": scored}}, "fused", name)
