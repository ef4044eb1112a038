"""What every test may ask for: the shared real data, a cache of its own, and shapes checked at run time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

jaxtyping.install_import_hook("wtal_lib", "typechecker.typechecked")

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("WTAL_SHARED") or ROOT.parent / "shared") / "data"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shared: needs the real inputs of ../shared, or of $WTAL_SHARED")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the real inputs; several test processes share the notebooks, any other file stays in one."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
        if config.pluginmanager.hasplugin("xdist") and not item.get_closest_marker("notebook"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches of this test process in a folder of its own: nothing of an earlier run, nothing left in the project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WTAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def nothing_on_this_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No data but what a test gives, and no figure left open."""
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    import matplotlib.pyplot as plt

    with plt.rc_context():
        yield
    plt.close("all")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs beside the project; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real inputs in {SHARED}, which are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def i3d_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """I3D's weights as `wtal weights i3d` fetches them, from the project's cache if they are there; else a skip."""
    from wtal_lib.video import i3d_weights as weights

    kept = ROOT / "cache/weights" / Path(weights.MEMBER).name
    if kept.is_file() or (kept := Path(os.environ.get("WTAL_I3D", "none"))).is_file():
        return kept
    try:
        return weights.fetch()
    except ConnectionError as error:
        pytest.skip(f"needs the I3D weights: {error}")


@pytest.fixture
def house_style() -> Iterator[None]:
    """The figures' style and no window; what was drawn is closed, and the caller's style comes back."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from wtal_lib.figures import theme

    mpl.use("Agg")
    with mpl.rc_context():
        theme()
        yield
    plt.close("all")
