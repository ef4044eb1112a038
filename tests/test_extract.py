from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import clips
import faulty
import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from wtal_lib import cli
from wtal_lib.data.annotations import find_annotations
from wtal_lib.data.features import find_pack
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import write_meta
from wtal_lib.video import extract, frames, text, vlm
from wtal_lib.video.backbone import Backbone, Target, fill_packs, read_ahead, snippets

CLASSES, TEMPLATES = ("high jump", "walking the dog"), ("a video of a person {}.",)


@pytest.fixture(scope="module")
def model() -> vlm.Vlm:
    return tiny.loaded()


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Path]:
    """Two numbered videos, of 9 and of 3 whole snippets."""
    folder = tmp_path_factory.mktemp("films")
    return [clips.numbered(folder / "long.mp4", 150), clips.numbered(folder / "short.mkv", 50)]


def rows(pack: Path, name: str) -> np.ndarray:
    return np.load(pack / "features" / f"{name}.npy")


@pytest.mark.parametrize("name", ["video_test_0000946", "v_ZNVhz7ctTq0"])
def test_embeddings_equal_open_clips_own_on_the_frames_shown_at_the_middles(shared_data, tmp_path, model, name) -> None:
    path = shared_data / "videos" / f"{name}.mp4"
    info = frames.probe(path)
    middle = I3D_GRID.seconds(np.arange(I3D_GRID.count(info.duration)) + 0.5)
    images = [Image.fromarray(frame.image) for frame in frames.frames(path, middle)]
    transform = vlm.import_open_clip().image_transform(32, is_train=False)
    with torch.no_grad():
        expected = model.model.encode_image(torch.stack([transform(image) for image in images]), normalize=True).numpy()
    *batches, beside = snippets(path, [extract.image_backbone(model, 32)], I3D_GRID, batch=8)
    got = torch.cat([model.encode_images(batch) for (batch,) in batches]).numpy()
    assert np.abs(got - expected).max() < 1e-5
    assert beside["rows"] == len(got)
    extract.extract([path], tmp_path / "pack", model, CLASSES, TEMPLATES)
    assert np.abs(rows(tmp_path / "pack", name) - expected).max() < 1e-3  # float16
    assert rows(tmp_path / "pack", name).dtype == np.float16


def test_a_pack_says_what_it_is_and_the_library_finds_and_reads_it(shared_data, tmp_path, model) -> None:
    names = text.read_classes(_listed(tmp_path / "names.txt", CLASSES))
    assert names == CLASSES
    annotations = find_annotations(shared_data, "thumos14")
    paths = sorted((shared_data / "videos").glob("video_*.mp4"))
    out = tmp_path / "root" / "thumos14" / "vlp" / "tiny-random"
    result = extract.extract(paths, out, model, annotations.classes, TEMPLATES)
    pack = find_pack(tmp_path / "root", "thumos14", "vlp", annotations, cache=tmp_path / "cache")
    assert pack.lengths == result.written
    assert pack.lengths["video_test_0000946"] == int(27.8 / 0.64)
    assert (pack.grid, pack.width, pack.meta["pretrained"], pack.meta["weights"]) == (I3D_GRID, 32, "random", "random")
    assert np.allclose(pack.text, text.text_rows(model, annotations.classes, TEMPLATES), atol=1e-6)
    assert np.allclose(np.linalg.norm(pack["video_test_0000946"].astype(np.float32), axis=1), 1, atol=1e-3)
    assert {"model", "precision", "versions", "preprocessing", "sampling", "logit_scale"} <= set(pack.meta)
    beside = json.loads((out / "features" / "video_test_0000946.json").read_text())
    assert (beside["file"], beside["rows"], beside["short"]) == ("video_test_0000946.mp4", 43, "")


def test_neither_batches_nor_threads_nor_other_videos_change_a_row(tmp_path, model, films) -> None:
    one = extract.extract(films, tmp_path / "a", model, CLASSES, TEMPLATES, batch=4)
    extract.extract(films[::-1], tmp_path / "b", model, CLASSES, TEMPLATES, batch=64, workers=3)
    assert one.written == {"long": 9, "short": 3}
    for name in one.written:
        assert np.abs(rows(tmp_path / "a", name).astype(float) - rows(tmp_path / "b", name)).max() < 1e-3


def test_another_grid_gives_as_many_rows_as_it_has_whole_snippets(tmp_path, model, films) -> None:
    extract.extract(films, tmp_path / "p", model, CLASSES, TEMPLATES, grid=Grid(10, 1))
    assert [len(rows(tmp_path / "p", name)) for name in ("long", "short")] == [60, 20]


def test_a_backbone_of_many_frames_a_snippet_fills_another_kind_of_pack(tmp_path, films) -> None:
    def numbers(images: list[np.ndarray]) -> torch.Tensor:
        return torch.tensor([clips.number(image) for image in images])

    known = {"pretrained": "none", "origin": {}, "precision": "float32", "sampling": "every frame"}
    offsets = tuple((i + 0.5) / 16 for i in range(16))
    backbone = Backbone("counter", 2, numbers, lambda clip: clip[:, [0, -1]].float(), known, offsets)
    target = Target(tmp_path / "p", backbone, write_meta)
    result = fill_packs(films, [target], batch=4, workers=2)
    assert result.written == {"long": 9, "short": 3}
    first = 16 * np.arange(9)
    assert np.array_equal(rows(tmp_path / "p", "long"), np.stack([first, first + 15], axis=1))
    again = fill_packs(films, [target])
    assert (again.skipped, again.written) == (["long", "short"], {})
    assert json.loads((tmp_path / "p" / "meta.json").read_text())["embed_dim"] == 2


def test_finished_videos_are_skipped_and_new_classes_need_no_new_frames(tmp_path, model, films) -> None:
    out, seen = tmp_path / "p", []
    extract.extract(films[:1], out, model, CLASSES, TEMPLATES)
    before = (out / "features" / "long.npy").stat().st_mtime_ns
    result = extract.extract(films, out, model, ("diving",), TEMPLATES, say=seen.append)
    assert (result.skipped, result.written) == (["long"], {"short": 3})
    assert (out / "features" / "long.npy").stat().st_mtime_ns == before
    assert json.loads((out / "meta.json").read_text())["classes"] == ["diving"]
    assert np.load(out / "text.npy").shape == (1, 32)
    assert seen == ["0 of 1 videos", "1 of 1 videos, short: 3 snippets"]


def test_a_bad_video_is_reported_and_the_others_go_on(tmp_path, model, films) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    cut = clips.numbered(tmp_path / "cut.mkv", 150)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    stub = clips.numbered(tmp_path / "stub.mkv", 150)
    stub.write_bytes(stub.read_bytes()[: stub.stat().st_size // 25])
    one = clips.write(tmp_path / "one.mp4", [clips.picture(0)])
    result = extract.extract([tmp_path / "bad.mp4", cut, stub, one, *films], tmp_path / "p", model, CLASSES, TEMPLATES)
    assert set(result.problems) == {"bad", "cut", "stub"}
    assert "stub.mkv breaks off within its first snippet" in result.problems["stub"]
    assert "cannot be read as a video" in result.problems["bad"]
    assert "of 6.0 s: 5 of 9 snippets are written" in result.problems["cut"]
    assert result.written == {"cut": 5, "one": 1, "long": 9, "short": 3}
    assert sorted(path.stem for path in (tmp_path / "p" / "features").glob("*.npy")) == ["cut", "long", "one", "short"]


def test_embeddings_of_another_origin_do_not_enter_a_pack(tmp_path, model, films) -> None:
    extract.extract(films[1:], tmp_path / "p", model, CLASSES, TEMPLATES)
    other = vlm.wrap(model.model, "tiny", "laion2b")
    with pytest.raises(ValueError, match="is a pack with pretrained 'random', not 'laion2b'"):
        extract.extract(films, tmp_path / "p", other, CLASSES, TEMPLATES)
    with pytest.raises(ValueError, match="is a pack with stride 16, not 8"):
        extract.extract(films, tmp_path / "p", model, CLASSES, TEMPLATES, grid=Grid(25, 8))
    (tmp_path / "q" / "features").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"holds features but no meta\.json"):
        extract.extract(films, tmp_path / "q", model, CLASSES, TEMPLATES)
    with pytest.raises(ValueError, match="several are called long"):
        extract.extract([films[0], tmp_path / "long.avi"], tmp_path / "r", model, CLASSES, TEMPLATES)


def _listed(path: Path, names: tuple[str, ...]) -> Path:
    path.write_text("\n".join(names) + "\n")
    return path


def test_class_lists_that_cannot_be_used_are_refused(tmp_path, model) -> None:
    for names, message in {
        ("High jump", "HighJump"): "come more than once: high jump",
        ("diving", " ", "golf"): "name 2 is blank",
        (): "it holds no names",
    }.items():
        with pytest.raises(ValueError, match=message):
            text.read_classes(_listed(tmp_path / "names.txt", names))
    (tmp_path / "names.json").write_text('["diving", "golf swing"]')
    assert text.read_classes(tmp_path / "names.json") == ("diving", "golf swing")
    with pytest.raises(FileNotFoundError, match="no such file of class names"):
        text.read_classes(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="does not fit into the 77 tokens"):
        extract.extract([], tmp_path / "p", model, ["very " * 90], TEMPLATES)


def test_reading_ahead_keeps_order_hands_errors_on_and_stops_when_closed() -> None:
    taken = []

    def read(n: int):
        for i in range(n):
            taken.append((n, i))
            yield i
        if n == 2:
            raise OSError("gone")

    assert [item for _, item in read_ahead([3], read, 1)] == [0, 1, 2]
    assert [str(item) for _, item in read_ahead([2], read, 2)] == ["0", "1", "gone"]
    taken.clear()
    ahead = read_ahead([1000, 1000], read, 1)
    next(ahead)
    ahead.close()
    assert len(taken) < 10


def command(folder: Path, *arguments: str | Path) -> list[str]:
    name = tiny.folder(folder / "model")
    return ["extract", *map(str, arguments), "--model", name, "--pretrained", "random", "--precision", "float32"]


def test_the_command_extracts_and_localizes_any_classes(tmp_path, films, capsys) -> None:
    names = _listed(tmp_path / "names.txt", ("somersault", "juggling", "ironing"))
    pack, found = tmp_path / "pack", tmp_path / "found.json"
    assert cli.main([*command(tmp_path, films[0].parent, "--out", pack, "--classes", names), "--batch", "4"]) == 0
    output = capsys.readouterr().out
    assert "1 of 2 videos, long: 9 snippets" in output
    assert "random weights: the features mean nothing" in output
    assert cli.main(["localize", str(pack), "--out", str(found)]) == 0
    results = json.loads(found.read_text())["results"]
    assert set(results) == {"long", "short"}
    assert {row["label"] for row in results["long"]} <= {"somersault", "juggling", "ironing"}
    assert all(0 <= row["segment"][0] < row["segment"][1] <= 9 * 0.64 + 1e-9 for row in results["long"])


def test_the_command_goes_on_past_a_bad_video_and_exits_with_1(tmp_path, films, capsys) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    assert cli.main(command(tmp_path, tmp_path / "bad.mp4", *films, "--out", tmp_path / "p")) == 1
    assert "bad.mp4 cannot be read as a video" in capsys.readouterr().err
    assert cli.main(command(tmp_path, *films, "--out", tmp_path / "p", "--part", "2/2")) == 0
    for arguments, message in {
        (tmp_path / "none.mp4",): "no such video file or folder",
        (films[0], "--batch", "0"): "batch and workers must be at least 1, got 0 and 1",
        (films[0], "--part", "3/2"): "part must be i/n with i from 1 to n, such as 3/16, got '3/2'",
        (films[0], "--dataset", "thumos"): "unknown dataset 'thumos'; did you mean 'thumos14'?",
        (films[0], "--fps", "-1"): "grid fps must be a positive number",
    }.items():
        assert cli.main(command(tmp_path, *arguments, "--out", tmp_path / "p")) == 2
        assert message in capsys.readouterr().err


def test_a_cluster_extracts_what_one_process_does(tmp_path, films, capsys, monkeypatch) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    given = (tmp_path / "bad.mp4", *films)
    assert cli.main(command(tmp_path, *given, "--out", tmp_path / "alone")) == 1
    monkeypatch.setattr(extract, "SHARE", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [faulty.started(faulty.scheduler, port), *(faulty.started(faulty.worker, port) for _ in range(2))]
    try:
        end = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < end
            time.sleep(0.05)
        shared = command(tmp_path, *given, "--out", tmp_path / "shared", "--scheduler", f"tcp://127.0.0.1:{port}")
        assert cli.main(shared) == 1
    finally:
        for process in workers:
            process.kill()
    output = capsys.readouterr()
    assert "3 of 3 done, 0 running, 0 failed" in output.out
    assert output.err.count("bad.mp4 cannot be read as a video") == 2
    for film in films:
        assert np.array_equal(rows(tmp_path / "shared", film.stem), rows(tmp_path / "alone", film.stem))


def test_a_killed_extraction_keeps_what_was_finished_and_the_next_goes_on(tmp_path, films) -> None:
    many = [tmp_path / f"film{i}.mkv" for i in range(12)]
    for path in many:
        os.link(films[1], path)
    arguments = command(tmp_path, *many, "--out", tmp_path / "p", "--fps", "25", "--stride", "1")
    running = subprocess.Popen([sys.executable, "-m", "wtal_lib.cli", *arguments], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "p").glob("features/film2.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "p" / "features").glob("*.npy")}
    assert len(kept) >= 3
    assert all(np.load(path).shape == (50, 32) for path in kept)
    assert cli.main(arguments) == 0
    assert len(list((tmp_path / "p" / "features").glob("*.npy"))) == 12
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())


def test_a_full_disk_stops_with_one_message_and_keeps_what_was_finished(tmp_path, films) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"  # the short film's rows fit, the long one's do not
        "from wtal_lib.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = command(tmp_path, films[1], films[0], "--out", tmp_path / "p", "--stride", "2")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"wtal extract: cannot write {tmp_path / 'p'}")
    assert "1 finished videos are kept: make room and call again" in done.stderr
    assert len(rows(tmp_path / "p", "short")) == 25
    assert not list((tmp_path / "p" / "features").glob("long*"))
