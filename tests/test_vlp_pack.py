"""Our own pack format: what does not fit is neither written nor read."""

from __future__ import annotations

import json
from pathlib import Path

import made
import numpy as np
import pytest

from wtal_lib.data.vlp_pack import read_meta, read_text_rows, write_vlp_pack


def test_what_is_written_is_read(tmp_path: Path) -> None:
    text = np.eye(3, 4, dtype=np.float32)
    write_vlp_pack(tmp_path, meta=made.meta(note="ours"), text_ce=text, features=[("a", np.ones((2, 4)))])
    meta, grid = read_meta(tmp_path / "meta.json")
    assert (meta["note"], grid.step, np.load(tmp_path / "features" / "a.npy").dtype) == ("ours", 0.64, np.float16)
    np.testing.assert_array_equal(read_text_rows(tmp_path, meta, ("LongJump", "Diving"), 4), text[[2, 0]])


def test_what_does_not_fit_is_not_written(tmp_path: Path) -> None:
    meta = {key: value for key, value in made.meta().items() if key != "logit_scale"}
    with pytest.raises(ValueError, match="logit_scale are missing"):
        write_vlp_pack(tmp_path, meta=meta, text_ce=np.eye(3, 4), features=[])
    with pytest.raises(ValueError, match=r"expected text rows \(3, 4\) .* got \(2, 4\)"):
        write_vlp_pack(tmp_path, meta=made.meta(), text_ce=np.eye(2, 4), features=[])
    for name, width in (("a", 5), ("../a", 4)):
        with pytest.raises(ValueError, match="expected rows of width 4 under a plain name"):
            write_vlp_pack(tmp_path, meta=made.meta(), text_ce=np.eye(3, 4), features=[(name, np.ones((2, width)))])
    assert not (tmp_path / "meta.json").exists()


def test_meta_data_that_lack_something_are_one_error(tmp_path: Path) -> None:
    write_vlp_pack(tmp_path / "tiny", meta=made.meta(), text_ce=np.eye(3, 4), features=[])
    for meta, why in (
        ({}, "model, pretrained, fps, .* are missing"),
        (made.meta(fps=0), "fps must be a positive number"),
        (made.meta(classes=["Diving", "HighJump", "Running"]), "LongJump lack one"),
        (made.meta(classes=["Diving", "LongJump"]), r"finite text rows \(2, 4\)"),
        ([], "are missing"),
    ):
        (tmp_path / "tiny" / "meta.json").write_text(json.dumps(meta))
        with pytest.raises(ValueError, match=rf"tiny/(meta\.json|text\.npy): expected .*{why}.*; write the pack again"):
            read_text_rows(tmp_path / "tiny", read_meta(tmp_path / "tiny" / "meta.json")[0], made.LABELS, 4)
