"""What every test may ask for: the shared real data, and shapes checked at run time."""

from __future__ import annotations

from pathlib import Path

import jaxtyping
import pytest

jaxtyping.install_import_hook("wtal_lib", "typechecker.typechecked")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs beside the project; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real inputs in {SHARED}, which are not on this machine")
    return SHARED
