"""A simulated world on disk: packs in the community's layouts, marked, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wtal_lib.cli import main
from wtal_lib.data.annotations import Annotations, find_annotations
from wtal_lib.data.features import find_pack
from wtal_lib.simulate.knobs import Simulator
from wtal_lib.simulate.packs import World, simulate, write_packs


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    world = simulate(Simulator(dataset="activitynet12", profile="ci", seed=4))
    out = tmp_path_factory.mktemp("data")
    return world, write_packs(world, out).parent


def _same(a: Annotations, b: Annotations) -> bool:
    return a.classes == b.classes and all(
        (v.name, v.subset, v.duration, v.labels, v.instance_labels, v.segments.tolist())
        == (w.name, w.subset, w.duration, w.labels, w.instance_labels, w.segments.tolist())
        for v, w in zip(a.videos.values(), b.videos.values(), strict=True)
    )


def test_written_packs_read_back_equal(written: tuple[World, Path], tmp_path: Path) -> None:
    world, out = written
    found = find_annotations(out, "activitynet12")
    assert _same(found, world.annotations)
    for pack in (world.cbp, world.vlp):
        read = find_pack(out, "activitynet12", pack.kind, found, cache=tmp_path)
        assert read.lengths == pack.lengths
        assert all(np.array_equal(read[name], pack[name]) for name in pack.names)
    assert np.allclose(read.text, world.text, atol=1e-6)
    assert read.meta["simulated"] is True
    assert json.loads((out / "activitynet12" / "SIMULATED.json").read_text())["config"]["seed"] == 4


def test_numpy_reads_the_joint_file_as_the_community_does(written: tuple[World, Path]) -> None:
    world, out = written
    rows = np.load(out / "activitynet12" / "ActivityNet1.2-I3D-JOINTFeatures.npy", allow_pickle=True)
    assert all(np.array_equal(row, world.cbp[name]) for row, name in zip(rows, world.cbp.names, strict=True))


def test_a_failed_write_leaves_the_last_world_as_it_was(written: tuple[World, Path]) -> None:
    world, out = written
    before = sorted(out.rglob("*"))

    def full(name: str) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_packs(world, out, progress=full)
    assert sorted(out.rglob("*")) == before
    write_packs(world, out, layouts=[5])
    assert [p.name for p in sorted((out / "activitynet12").iterdir())] == ["SIMULATED.json", "vlp"]
    write_packs(world, out)


def test_real_files_are_never_marked_as_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thumos14").mkdir()
    (tmp_path / "thumos14" / "gt.json").write_text("{}")
    assert main(["simulate", str(tmp_path), "--profile", "ci"]) == 2
    assert "not marked as simulated" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "thumos14").iterdir()] == ["gt.json"]


def test_the_command_writes_what_it_is_asked_for(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["simulate", str(tmp_path), "--profile", "ci", "--annotations", str(shared_data / "thumos14/wtalc")]
    assert main([*given, "--layouts", "1"]) == 0
    assert "80 videos with simulated features, structure real" in capsys.readouterr().out
    assert not (tmp_path / "thumos14" / "vlp").exists()
    found, real = find_annotations(tmp_path, "thumos14"), find_annotations(shared_data, "thumos14")
    kept = {name: real.videos[name] for name in found.videos}
    assert _same(found, replace(real, videos=kept))
    assert main([*given, "--layouts", "2"]) == 2
    assert "layouts must be among 1, 5, got 2" in capsys.readouterr().err
