"""Which data a run or a notebook reads: real packs where they are found, simulated features where they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from wtal_lib.data.annotations import Annotations, data_root, earned_name, find_annotations
from wtal_lib.data.datasets import Dataset, get_dataset
from wtal_lib.data.features import Pack, find_pack, ill_fitting, marked
from wtal_lib.data.packs import given_grid
from wtal_lib.data.segments import Grid
from wtal_lib.settings import digest, require_known
from wtal_lib.simulate.knobs import difficulty
from wtal_lib.simulate.packs import SimulatedPack, World, simulate

SOURCES = ("auto", "real", "simulated")
"real where everything needed is found, else simulated; real or an error; simulated over the annotations that are found"


@dataclass(frozen=True, eq=False)
class Data:
    """Annotations and both modalities, and whether they are real."""

    dataset: str
    source: Literal["real", "simulated"]
    "simulated as soon as one of the packs that were asked for is"
    found: Annotations | None
    "the annotations on this disk, all of them; None where there are none"
    annotations: Annotations
    "the annotations the features belong to: those found, those of the simulated world, or drawn ones"
    cbp: Pack | SimulatedPack | None
    vlp: Pack | SimulatedPack | None
    "None where it was not asked for and not found"
    world: World | None
    "the simulated world behind simulated packs; None where packs were read from disk"
    missing: Mapping[str, str]
    "by kind of data, why it was not found"

    @property
    def known(self) -> Dataset:
        """What is known of the dataset: classes, protocols, bins."""
        return get_dataset(self.dataset)

    @property
    def protocol_name(self) -> str:
        """The headline protocol, with the number of videos where the annotations lack some of those that it scores."""
        protocol = self.known.headline
        return earned_name(protocol, sum(v.name not in protocol.excluded for v in self.annotations.subset("test")))

    @property
    def structure(self) -> Literal["real", "simulated"]:
        """Whether the temporal structure (videos, classes, instances) is real, whatever the features are."""
        return "simulated" if marked(self.annotations) else "real"

    @property
    def place(self) -> str:
        """Folder of results by what they rest on: real, simulated, drawn (annotations too) or random-weights."""
        metas = [getattr(pack, "meta", {}) for pack in (self.cbp, self.vlp)]
        if any("random" in (meta.get("pretrained"), meta.get("weights")) for meta in metas):
            return "random-weights"
        return "drawn" if self.structure == "simulated" else self.source

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Hashes of the data by kind: equal for equal content, whatever folder it came from."""
        videos = self.annotations.videos.values()
        content = [(one.name, one.subset, one.labels, one.instance_labels, one.segments.tolist()) for one in videos]
        packs = {pack.kind: pack.fingerprint for pack in (self.cbp, self.vlp) if pack is not None}
        return {"annotations": digest(content, 16), **packs}


@dataclass(frozen=True)
class Spec:
    """Where data come from, in words that travel: a worker on another machine opens the same data from them."""

    dataset: str = "thumos14"
    source: str = "auto"
    "one of SOURCES"
    root: str = ""
    "data root; empty for $WTAL_DATA or data/, where nothing is no error"
    profile: str = "quick"
    "size of the simulated world"
    world: int = 0
    "seed of the simulated world; one world serves all seeds of a run, as one dataset does"
    setting: str = "middle"
    "difficulty of the simulated world"
    fps: float = 0.0
    "frames per second of the pack of ``kind``; 0 where its files tell"
    stride: float = 0.0
    "its frames from row to row; 0 for 16 (cbp) or 1 (vlp)"
    kind: str = "cbp"

    @property
    def grid(self) -> Grid | None:
        """The grid that was given for the pack of ``kind``; ValueError for a stride without fps, or an unknown kind."""
        return given_grid(self.fps, self.stride, self.kind)


def open_data(spec: Spec, needs: Sequence[str] = ("cbp", "vlp")) -> Data:
    """The data of a spec; what ``needs`` names is simulated where it is not found and the source allows it.

    Raises ValueError: an unknown dataset, source, profile or setting, or data that are there but broken;
    FileNotFoundError: the source is real and something needed is missing, with all the places looked at, or a
    ``root`` that is not there.
    """
    require_known(spec.source, SOURCES, "source")
    dataset, root = get_dataset(spec.dataset).name, data_root(spec.root or None)
    if spec.root and not root.is_dir():
        raise FileNotFoundError(f"data root {root} is not a folder; give the one that holds {dataset}/, or none")
    found, packs, missing = _look(root, dataset, spec)
    whole = found is not None and set(needs) <= set(packs)
    ours = [kind for kind in needs if kind in packs and marked(packs[kind])]
    real = whole and not ours and not marked(found)
    if spec.source == "real" and not real:
        raise FileNotFoundError(_why_not_real(dataset, root, needs, missing, ours))
    if (spec.source == "simulated" and not ours) or not whole:
        world = simulate(difficulty(spec.setting, dataset=dataset, profile=spec.profile, seed=spec.world), found)
        return Data(dataset, "simulated", found, world.annotations, world.cbp, world.vlp, world, missing)
    assert found is not None
    kind: Literal["real", "simulated"] = "real" if real else "simulated"
    return Data(dataset, kind, found, found, packs.get("cbp"), packs.get("vlp"), None, missing)


def _look(root: Path, dataset: str, spec: Spec) -> tuple[Annotations | None, dict[str, Pack], dict[str, str]]:
    """Annotations and packs on this disk, and why the others were not found.

    What is found but broken is an error, except packs of a source that needs none.
    """
    packs, missing = dict[str, Pack](), dict[str, str]()
    try:
        found = find_annotations(root, dataset)
    except FileNotFoundError as error:
        return None, packs, {"annotations": str(error)}
    for kind in ("cbp", "vlp"):
        grid = spec.grid if kind == spec.kind else None
        given = {"fps": grid.fps, "stride": grid.stride} if grid else {}
        try:
            packs[kind] = find_pack(root, dataset, kind, found, **given)  # type: ignore[arg-type]
            if why := ill_fitting(packs[kind], found):
                del packs[kind]
                raise ValueError(why)
        except (FileNotFoundError, ValueError) as error:
            if isinstance(error, ValueError) and spec.source != "simulated":
                raise
            missing[kind] = str(error)
    return found, packs, missing


def _why_not_real(dataset: str, root: Path, needs: Sequence[str], missing: Mapping[str, str], ours: list[str]) -> str:
    reasons = [missing[kind] for kind in ("annotations", *needs) if kind in missing]
    reasons += [f"the {kind} pack is marked as simulated" for kind in ours]
    text = "; ".join(reasons or ["the annotations are marked as simulated"])
    head = f"source is 'real', but not everything real was found for {dataset} in {root}"
    return f"{head}; {text}. Use source='auto' to go on with simulated features"
