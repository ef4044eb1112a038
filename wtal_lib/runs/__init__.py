"""One configuration to one record, computed once; many of them, on these cores or a cluster."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "sources": ["Data", "Spec", "open_data", "fingerprint"],
        "run": ["load_libraries", "curved", "identity", "chosen_device", "Task"],
        "sweep": ["grid", "read_grid"],
        "store": [
            "write",
            "read",
            "finished",
            "clear",
            "forget",
            "card",
            "differences",
            "flat",
            "alone",
            "state",
            "cards",
            "prune",
        ],
        "records": [
            "project_root",
            "seen_from",
            "require_writable",
            "read_record",
            "sha256",
            "code_state",
            "method_digest",
            "environment",
            "peak_memory",
            "markdown",
            "rounded",
        ],
        "results": ["stores", "as_table", "found", "compared", "as_text"],
    },
)
