"""A notebook's helpers: open a study, ask the paper's questions as runs, keep tables, figures and claims."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "study": ["Study", "open_study"],
        "statistics": ["over_seeds_and_settings"],
        "shown": ["live"],
        "story": ["Explorer"],
    },
)
