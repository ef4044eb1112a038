"""Feature packs drawn from latent causes, whose errors emerge from training; what rests on them says so."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "knobs": ["Size", "Simulator", "difficulty", "draw"],
        "structure": ["Statistics", "groups", "seconds", "subset", "drawn_annotations", "contested"],
        "timeline": ["Timeline", "phases"],
        "modalities": ["rng_of", "unit", "drawn", "directions", "related", "noise", "looks", "Cbp", "Vlp"],
        "packs": ["SimulatedPack", "World", "simulate", "write_packs"],
    },
)
