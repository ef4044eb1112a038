"""Simulated feature packs, drawn from latent causes so that errors emerge from training; always marked as simulated."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "knobs": ["Size", "Simulator", "difficulty", "draw"],
        "structure": ["drawn_annotations"],
        "packs": ["SimulatedPack", "World", "simulate", "write_packs"],
    },
)
