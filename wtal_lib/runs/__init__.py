"""One configuration to one record, computed once; many of them, on these cores or a cluster."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "sources": ["Data", "Spec", "open_data"],
        "experiment": ["Experiment"],
        "checkpoints": ["train", "save", "resume"],
        "sweep": ["Task", "grid", "read_grid"],
        "store": ["Store"],
        "records": ["METHOD", "project_root"],
    },
)
