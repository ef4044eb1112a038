"""Learnable prompts: packed into one sequence, against padded ones. ``python tests/benchmarks/bench_vlm.py``"""

from __future__ import annotations

import time

import torch

from wtal_lib.data.datasets import get_dataset
from wtal_lib.video import text, vlm


def seconds(call, repeats: int) -> float:
    """Processor time, best of several: other work on the machine comes and goes."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


def padded_step(model: vlm.Vlm, tokens: torch.Tensor, context: torch.Tensor) -> None:
    """CoOp's own way: every prompt padded to one length, each with its own copy of the context."""
    tower, length = text.text_tower(model.model), tokens.shape[1]
    word = tower.token_embedding(tokens)
    word = torch.cat([word[:, :1], context.expand(len(word), -1, -1), word[:, 1 + len(context) :]], dim=1)
    x = word + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    rows = x[torch.arange(len(x)), tokens.argmax(dim=1)] @ tower.text_projection
    torch.nn.functional.normalize(rows, dim=1).sum().backward()


def main() -> None:
    """Prints a table: one training step of the prompts, by form, way and number of classes."""
    torch.set_num_threads(1)
    model = vlm.load("ViT-B-32", "random", text_only=True)
    print("one step (forward and backward) of the prompts, text tower of ViT-B-32, processor time of one thread")
    print(f"{'classes':>8} {'vectors':>8} {'way':28} {'tokens':>7} {'seconds':>8} {'speed-up':>8}")
    for form, dataset in (
        (f, d) for f in ({"before": 16}, text.EFFICIENT_PROMPT) for d in ("thumos14", "activitynet12")
    ):
        classes = get_dataset(dataset).classes
        learner = text.prompt_learner(model, classes, **form)
        tokens = model.tokenizer(
            [f"{'x ' * 16}{text.prompt_name(name)}{' x' * form.get('after', 0) or '.'}" for name in classes]
        )
        longest = int(tokens.argmax(dim=1).max()) + 1
        packed = sum(len(text.pack(model.model, part).place_l) for part in tokens.split(text.AT_ONCE))

        def autocast(learner=learner) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                learner().sum().backward()

        ways = {
            f"padded to {n}": (lambda lr=learner, t=tokens[:, :n]: padded_step(model, t, lr.context), n * len(classes))
            for n in (77, longest)
        }
        ways["packed"] = (lambda lr=learner: lr().sum().backward(), packed)
        ways["packed, bfloat16"] = (autocast, packed)
        base = None
        for way, (call, count) in ways.items():
            took = seconds(call, 2)
            base = base or took
            vectors = f"16+{form.get('after', 0)}"
            print(f"{len(classes):8d} {vectors:>8} {way:28} {count:7d} {took:8.3f} {base / took:7.1f}x", flush=True)
        with torch.no_grad():
            print(f"{len(classes):8d} {'':8} {'unchanged prompts (cached)':28} {0:7d} {seconds(learner, 3):8.6f}")


if __name__ == "__main__":
    main()
