"""Learnable prompts: packed into one sequence, against padded ones. ``python tests/benchmarks/bench_vlm.py``"""

from __future__ import annotations

import time

import torch

from wtal_lib.data.datasets import get_dataset
from wtal_lib.method import text
from wtal_lib.video import vlm


def seconds(call, repeats: int) -> float:
    """Best of several."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def padded_step(model: vlm.Vlm, learner: text.PromptLearner, length: int) -> None:
    """CoOp's own way: every prompt padded to ``length``, each with its own copy of the context."""
    tower, tokens, slots = text.text_tower(model.model), learner.tokens[:, :length], learner.slots
    word = tower.token_embedding(tokens)
    context = learner.context.expand(len(word), -1, -1)
    x = torch.cat([word[:, : slots.start], context, word[:, slots.stop :]], dim=1) + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    rows = x[torch.arange(len(x)), tokens.argmax(dim=1)] @ tower.text_projection
    torch.nn.functional.normalize(rows, dim=1).sum().backward()


def main() -> None:
    """Prints a table: one training step of the prompts, by way and number of classes."""
    model = vlm.load("ViT-B-32", "random", text_only=True)
    print(f"one step (forward and backward) of the prompts, text tower of ViT-B-32, {torch.get_num_threads()} threads")
    print(f"{'classes':>8} {'way':28} {'tokens':>7} {'seconds':>8} {'speed-up':>8}")
    for dataset in ("thumos14", "activitynet12"):
        learner = text.PromptLearner(model, get_dataset(dataset).classes, n_ctx=16)
        longest = int(learner.tokens.argmax(dim=1).max()) + 1
        packed = learner.packed.token_l.numel()
        classes = len(get_dataset(dataset).classes)

        def autocast(learner=learner) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                learner().sum().backward()

        ways = {
            "padded to 77 (CoOp)": (lambda lr=learner: padded_step(model, lr, 77), classes * 77),
            f"padded to the longest ({longest})": (
                lambda lr=learner, n=longest: padded_step(model, lr, n),
                classes * longest,
            ),
            "packed": (lambda lr=learner: lr().sum().backward(), packed),
            "packed, bfloat16": (autocast, packed),
        }
        base = None
        for way, (call, tokens) in ways.items():
            took = seconds(call, 2 if tokens < 2000 else 1)
            base = base or took
            print(f"{classes:8d} {way:28} {tokens:7d} {took:8.3f} {base / took:7.1f}x")
        with torch.no_grad():
            print(f"{classes:8d} {'unchanged prompts (cached)':28} {0:7d} {seconds(learner, 3):8.6f}")


if __name__ == "__main__":
    main()
