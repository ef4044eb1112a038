"""The ``wtal`` command: one subcommand a task, each a thin shell around a library function."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from wtal_lib import cli_runs
from wtal_lib.data.files import replacing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wtal", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    _add_score(commands)
    _add_simulate(commands)
    _add_run(commands)
    _add_extract(commands)
    _add_localize(commands)
    cli_runs.add(commands)
    return parser


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check", help="what a data root holds, every mismatch in it; exit 1 if a run would fail"
    )
    parser.add_argument(
        "data_root", nargs="?", help="folder of the datasets, or of one; default $WTAL_DATA, else data/"
    )
    parser.add_argument("--dataset", help="thumos14 or activitynet12; those that are found when absent")
    parser.add_argument("--cache", type=Path, help="folder for the feature index; default $WTAL_CACHE, else cache/")
    parser.add_argument("--json", action="store_true", help="print every finding, with all names, as json")
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    from wtal_lib.data.annotations import data_root
    from wtal_lib.data.check import as_text, check, passes

    report = check(data_root(arguments.data_root), arguments.dataset, arguments.cache)
    print(json.dumps(report, indent=1) if arguments.json else as_text(report))
    return 0 if passes(report) else 1


def _add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("score", help="score a file of detections under named protocols")
    parser.add_argument("detections", help="json file in ActivityNet's result format, segments in seconds")
    parser.add_argument(
        "--annotations", required=True, help="folder or file with the ground truth, in any known layout"
    )
    parser.add_argument("--dataset", help="thumos14 or activitynet12; recognised when absent")
    parser.add_argument("--protocol", action="append", default=[], help="may be repeated; all that fit when absent")
    parser.add_argument("--bootstrap", type=int, default=0, metavar="N", help="resamplings of the videos for intervals")
    parser.add_argument("--out", type=Path, help="json file to write the report to")
    parser.set_defaults(run=_score)


def _score(arguments: argparse.Namespace) -> int:
    from wtal_lib.score.evaluate import as_text, score_file

    found = score_file(
        arguments.detections,
        arguments.annotations,
        arguments.dataset,
        arguments.protocol,
        bootstrap=arguments.bootstrap,
    )
    if arguments.out:
        with replacing(arguments.out) as file:
            file.write(json.dumps(found, indent=1).encode())
    print(as_text(found))
    for text in found["warnings"]:
        print(f"wtal score: warning: {text}", file=sys.stderr)
    return 0


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("simulate", help="feature packs that need no download, marked as simulated")
    parser.add_argument("out", type=Path, help="data root to write to; OUT/DATASET must hold nothing real")
    parser.add_argument("--dataset", default="thumos14", help="thumos14 or activitynet12, default %(default)s")
    parser.add_argument("--profile", default="quick", help="ci, quick or full: widths and videos, default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the world, default %(default)s")
    parser.add_argument("--difficulty", default="middle", help="vlp_weak, cbp_strong, … (see README)")
    parser.add_argument("--annotations", type=Path, help="real ones, whose structure is kept; drawn when absent")
    parser.add_argument("--layouts", type=int, nargs="+", default=[1, 5], help="1 W-TALC, 5 VLP pack; default both")
    parser.set_defaults(run=_simulate)


def _simulate(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from wtal_lib.data.annotations import annotations_from
    from wtal_lib.simulate.packs import difficulty, simulate, write_packs

    given = {name: getattr(arguments, name) for name in ("dataset", "profile", "seed")}
    config = difficulty(arguments.difficulty, **given)
    found = annotations_from(arguments.annotations, config.dataset) if arguments.annotations else None
    world = simulate(config, found)
    with tqdm(total=len(world.cbp) * len(set(arguments.layouts)), unit=" videos", disable=None) as bar:
        folder = write_packs(world, arguments.out, arguments.layouts, lambda _: bar.update())
    structure = "drawn" if found is None else f"real ({found.layout} annotations)"
    print(f"{len(world.cbp)} videos with simulated features, structure {structure}, in {folder}")
    return 0


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("run", help="train and score one named run: a record and its detections")
    parser.add_argument("--dataset", default="thumos14", help="thumos14 or activitynet12")
    parser.add_argument("--data-root", default="", help="folder of the datasets; default $WTAL_DATA, else data/")
    parser.add_argument("--source", default="auto", help="auto, real or simulated")
    parser.add_argument("--profile", default="quick", help="ci, quick or full: size of networks and simulated world")
    parser.add_argument("--setting", default="middle", help="difficulty of the simulated world")
    parser.add_argument(
        "--preset", default="full", help="full, late_fusion, cbp, vlp, vanilla_vlp, b_only, … (see README)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="replace a field, as schedule.period=25"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--out", type=Path, help="folder of the run; default results/SOURCE/DATASET/runs/IDENTITY")
    parser.add_argument("--anew", action="store_true", help="compute it again even where it is finished")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from wtal_lib.method.presets import preset
    from wtal_lib.runs.records import project_root
    from wtal_lib.runs.results import as_text
    from wtal_lib.runs.run import Task, run
    from wtal_lib.runs.sources import Spec, open_data

    wrong = [one for one in arguments.set if "=" not in one]
    if wrong:
        raise ValueError(f"--set takes FIELD=VALUE, as schedule.period=25, got {wrong[0]!r}")
    changes = dict(one.split("=", 1) for one in arguments.set)
    config = preset(arguments.preset, arguments.dataset, arguments.profile, arguments.seed, **changes)
    spec = Spec(arguments.dataset, arguments.source, arguments.data_root, arguments.profile, setting=arguments.setting)
    data = open_data(spec)
    store = project_root() / "results" / data.source / data.dataset / "runs"
    folder = arguments.out or store / Task(config, data).identity
    record = run(
        config,
        data,
        folder,
        device=arguments.device,
        anew=arguments.anew,
        progress=lambda line: print(line, file=sys.stderr),
    )
    print(as_text(record))
    print(f"record.json and detections.json in {folder}")
    return 0


def _add_extract(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "extract",
        help="videos to a VLP pack by any open_clip model; exit 1 if one cannot be read to its end",
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video file, or a folder of them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pack; finished videos in it are skipped")
    parser.add_argument("--model", default="ViT-B-16", help="name in open_clip.list_models(), default %(default)s")
    parser.add_argument(
        "--pretrained", default="openai", help="open_clip's tag, a checkpoint file or random; default %(default)s"
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--dataset", default="thumos14", help="whose classes; default %(default)s")
    names.add_argument("--classes", type=Path, help="your own: text file, a name a line, or json list")
    parser.add_argument("--batch", type=int, default=32, help="frames encoded together, default %(default)s")
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:1; default a GPU if there is one")
    parser.add_argument("--precision", default="auto", help="float32, bfloat16, or auto: bfloat16 where it is native")
    parser.add_argument("--workers", type=int, default=1, help="videos decoded at once, default %(default)s")
    parser.add_argument("--fps", type=float, default=25.0, help="of the snippet grid, default %(default)s")
    parser.add_argument("--stride", type=float, default=16.0, help="frames a snippet, default %(default)s (0.64 s)")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every Nth video from the Ith, for job arrays")
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    parser.add_argument("--scheduler", default="", help="tcp://… or file of a Dask scheduler, whose workers share them")
    parser.set_defaults(run=_extract)


def _extract(arguments: argparse.Namespace) -> int:
    # before PyTorch is loaded: threads that wait for their part of an encoding leave the core to decoding
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from wtal_lib.video.extract_pack import extract_to_pack

    result = extract_to_pack(**{k: v for k, v in vars(arguments).items() if k not in ("command", "run")}, say=print)
    for problem in result.problems.values():
        print(f"wtal extract: {problem}", file=sys.stderr)
    return 1 if result.problems else 0


def _add_localize(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("localize", help="a VLP pack to detections, with or without a trained run")
    parser.add_argument("pack", type=Path, help="folder with meta.json, as `wtal extract` writes it")
    parser.add_argument("--checkpoint", type=Path, metavar="RUN", help="folder of a finished run; without, vanilla VLP")
    parser.add_argument("--data-root", help="where CBP features of the same videos are, for the run's other branch")
    parser.add_argument("--out", type=Path, required=True, help="json file in ActivityNet's result format")
    parser.set_defaults(run=_localize)


def _localize(arguments: argparse.Namespace) -> int:
    from wtal_lib.score.detections import write_detections
    from wtal_lib.video.open_vocabulary import cbp_features, localize_pack, open_pack, trained, vanilla

    pack = open_pack(arguments.pack)
    scorer = trained(arguments.checkpoint, pack) if arguments.checkpoint else vanilla(pack)
    cbp = cbp_features(arguments.data_root, scorer) if arguments.data_root else None
    found = localize_pack(pack, scorer, cbp)
    write_detections(arguments.out, found)
    marks = " (random weights: meaningless)" if pack.meta["pretrained"] == "random" and not arguments.checkpoint else ""
    print(f"{len(found)} segments in {len(found.videos)} videos in {arguments.out}{marks}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 what was asked for is not so, 2 unusable input (one line says why), 130 Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"wtal {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"wtal {arguments.command}: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
