"""How like real detections are those of the simulated CBP branch? The simulator's knobs are held against this alone.

    WTAL_DATA=data python tests/likeness.py detections.json [KNOB=VALUE ...]

``detections.json`` holds a real, weakly supervised model's detections on THUMOS14's test videos. Beside them: CBP on
video labels alone, in the default world or one in which some knobs differ. A line each: mAP (%) at tIoU 0.1 to 0.7, the
points of mAP@0.5 that each kind of error costs, and the distance from the real ones, root mean square of all ten.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from wtal_lib.data import ground_truth, protocol
from wtal_lib.data.annotations import Annotations, data_root, find_annotations
from wtal_lib.data.segments import Detections
from wtal_lib.method import preset
from wtal_lib.runs import Spec, open_data
from wtal_lib.runs.run import run
from wtal_lib.runs.store import DETECTIONS
from wtal_lib.score import diagnose, metrics, read_detections
from wtal_lib.simulate.knobs import DIFFICULTIES

TIOU, KINDS = np.arange(1, 8) / 10, ("bad localization", "background", "miss")


def measured(found: Detections, annotations: Annotations) -> np.ndarray:
    """Seven mAP and what three kinds of error cost, in points."""
    truth = ground_truth(annotations, protocol("thumos14-210-seconds"))
    gains = diagnose.error_removal_gain(found, truth, [0.5])
    map_k = np.nanmean(metrics.average_precision(found, truth, TIOU), axis=0)
    return 100 * np.append(map_k, [gains[kind][0] for kind in KINDS])


def main() -> None:
    DIFFICULTIES["tried"] = {name: float(value) for name, value in (word.split("=") for word in sys.argv[2:])}
    annotations = find_annotations(data_root(None), "thumos14")
    real = measured(read_detections(Path(sys.argv[1]), annotations), annotations)
    print(f"{'mAP at 0.1 ... 0.7, cost of ' + ', '.join(KINDS):>62}   distance")
    print(f"{'real':9}", *(f"{value:5.1f}" for value in real))
    data = open_data(Spec(source="simulated", setting="tried"))
    for seed in range(5):
        with tempfile.TemporaryDirectory() as folder:
            run(preset("late_fusion", seed=seed), data, Path(folder), keep=("detections",))
            found = read_detections(next(Path(folder).glob(f"{DETECTIONS['cbp']}*")), annotations)
        ours = measured(found, annotations)
        distance = ((ours - real) ** 2).mean() ** 0.5
        print("simulated", *(f"{value:5.1f}" for value in ours), f"{distance:7.2f}", flush=True)


if __name__ == "__main__":
    main()
