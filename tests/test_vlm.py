from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import made
import numpy as np
import pytest
import safetensors.torch
import tiny
import torch
from PIL import Image
from torch.nn import functional

from wtal_lib.data.datasets import DATASETS, prompt_name
from wtal_lib.method.text import TextResidual
from wtal_lib.video import text, vlm

NAMES = ["BaseballPitch", "Clean and jerk", "walking the dog", "HighJump"]
TOWERS = {
    "clip": tiny.loaded,
    "custom text": lambda: tiny.loaded("CustomTextCLIP"),
    "pooled at an end token": lambda: tiny.loaded("CustomTextCLIP", pool_type="eos", eos_id=49407),
    "normalised queries": lambda: tiny.loaded(qk_norm=True, scale_attn=True, scale_fc=True),
    "not causal (SigLIP)": lambda: tiny.loaded("CustomTextCLIP", no_causal_mask=True, pool_type="last"),
    "class token (CoCa)": lambda: tiny.loaded("CustomTextCLIP", embed_cls=True, context_length=76),
}


@pytest.fixture(scope="module")
def clip() -> vlm.Vlm:
    return tiny.loaded()


def full_length(model: vlm.Vlm, texts: list[str]) -> torch.Tensor:
    """What open_clip itself answers, on prompts padded to the context length."""
    with torch.no_grad():
        return functional.normalize(model.model.encode_text(model.tokenizer(texts)), dim=1)


@pytest.mark.parametrize("tower", TOWERS)
def test_rows_of_text_and_of_untrained_prompts_equal_those_of_full_length_prompts(tower: str) -> None:
    model = TOWERS[tower]()
    texts = [f"a video of a person {prompt_name(name)}." for name in NAMES]
    expected = full_length(model, texts)
    learner = text.prompt_learner(model, NAMES, prefix="a video of a person").eval()
    assert (text.encode_text(model, texts) - expected).abs().max() < 1e-6
    assert (learner() - expected).abs().max() < 1e-6
    packed = text.pack(model.model, model.tokenizer(texts, context_length=model.model.context_length))
    assert (packed is None) == (tower in ("not causal (SigLIP)", "class token (CoCa)"))


def test_prompts_of_one_class_and_of_more_than_fit_at_once_are_exact_too(clip: vlm.Vlm, monkeypatch) -> None:
    monkeypatch.setattr(text, "AT_ONCE", 4)
    texts = [f"throw number {i}" + " again" * (i % 5) for i in range(9)]
    expected = full_length(clip, texts)
    assert (text.encode_text(clip, texts) - expected).abs().max() < 1e-6
    learner = text.prompt_learner(clip, [one.removeprefix("throw ") for one in texts], prefix="throw")
    assert (learner() - full_length(clip, [f"{one}." for one in texts])).abs().max() < 1e-6
    assert (text.prompt_learner(clip, ["Diving"], prefix="a")() - full_length(clip, ["a diving."])).abs().max() < 1e-6


@pytest.mark.parametrize("tower", ["clip", "not causal (SigLIP)"])
def test_only_the_context_learns_and_only_the_context_is_saved(tower: str) -> None:
    model = TOWERS[tower]()
    learner = text.prompt_learner(model, NAMES)
    (learner() @ torch.randn(32, 1)).sum().backward()
    assert list(learner.state_dict()) == ["context"] == [name for name, _ in learner.named_parameters()]
    assert learner.context.grad.norm() > 0
    assert not any(p.requires_grad for p in model.model.parameters())


FORMS = {"prefix": {}, "drawn in front": {"before": 9}, "Efficient-Prompt": text.EFFICIENT_PROMPT}


@pytest.mark.parametrize("form", FORMS)
def test_packed_and_full_length_prompts_give_the_same_gradient(clip: vlm.Vlm, monkeypatch, form: str) -> None:
    gradients = []
    for packed in (True, False):
        if not packed:
            monkeypatch.setattr(text, "pack", lambda model, tokens_cl: None)
        learner = text.prompt_learner(clip, NAMES, **FORMS[form])
        (learner() @ torch.arange(32.0)).square().sum().backward()
        gradients.append(torch.cat([context.grad for context in learner.parameters()]))
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5 * float(gradients[0].abs().max()))
    assert (gradients[0].norm(dim=1) > 0).all()


@pytest.mark.parametrize("tower", ["clip", "not causal (SigLIP)"])
def test_vectors_stand_on_both_sides_of_the_class_name(tower: str) -> None:
    model = TOWERS[tower]()
    learner = text.prompt_learner(model, NAMES, **text.EFFICIENT_PROMPT)
    assert [(name, tuple(p.shape)) for name, p in learner.named_parameters()] == [
        ("context", (16, 64)),
        ("context_after", (16, 64)),
    ]
    assert learner.context.std().item() == pytest.approx(0.02, rel=0.1)
    embed, words = text.text_tower(model.model).token_embedding, ["one", "two", "three", "four", "five"]
    before, after = ([words[(i + shift) % 5] for i in range(16)] for shift in (0, 3))
    ids = model.tokenizer([" ".join(before), " ".join(after)])[:, 1:17]
    learner.context.data, learner.context_after.data = embed(ids).data
    texts = [f"{' '.join(before)} {prompt_name(name)} {' '.join(after)}" for name in NAMES]
    assert (learner().detach() - full_length(model, texts)).abs().max() < 1e-6


def test_class_rows_are_computed_again_exactly_when_the_context_changed(clip: vlm.Vlm) -> None:
    learner = text.prompt_learner(clip, NAMES)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.1)
    with torch.no_grad():
        first = learner()
        assert learner() is first
    (learner() @ torch.randn(32, 1)).sum().backward()
    optimizer.step()
    with torch.inference_mode():
        second = learner()
    assert (second - first).abs().max() > 1e-3
    learner.context.data.neg_()  # no version counter sees this
    with torch.no_grad():
        assert (learner() - second).abs().max() > 1e-3
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert learner().dtype == torch.float32
    frozen = text.prompt_learner(clip, NAMES).requires_grad_(False)
    assert frozen() is frozen()


def test_a_copied_learner_shares_the_tower_and_owns_its_context(clip: vlm.Vlm) -> None:
    learner = text.prompt_learner(clip, NAMES)
    twin = copy.deepcopy(learner)
    twin.context.data.zero_()
    assert twin.class_rows is learner.class_rows
    assert learner.context.norm() > 0


def test_context_beyond_the_words_of_init_is_drawn_from_the_seed(clip: vlm.Vlm) -> None:
    one, same, other = (
        text.prompt_learner(clip, NAMES, before=8, prefix="a video of", seed=s).context for s in (0, 0, 1)
    )
    assert one.shape == (8, 64)
    assert torch.equal(one, same)
    assert not torch.equal(one[:5], other[:5])
    assert torch.equal(one[5:], other[5:])
    assert text.prompt_learner(clip, NAMES, before=4, prefix="").context.shape == (4, 64)


def test_prompts_that_cannot_be_built_are_refused(clip: vlm.Vlm) -> None:
    with pytest.raises(ValueError, match=r"does not fit into the 77 tokens of tiny.*very very"):
        text.prompt_learner(clip, ["Diving", "very " * 90])
    with pytest.raises(ValueError, match="as many vectors before them as prefix has tokens: got 4 names, 2 before"):
        text.prompt_learner(clip, NAMES, before=2, prefix="a video of a person")
    with pytest.raises(ValueError, match=r"the 77 tokens of tiny beside 40 \+ 40 context vectors, .*'BaseballPitch'"):
        text.prompt_learner(clip, NAMES, before=40, after=40)
    with pytest.raises(ValueError, match="got 0 names"):
        text.prompt_learner(clip, [])
    with pytest.raises(ValueError, match="at least one class name and one template, got 4 and 0"):
        text.text_rows(clip, NAMES, ())


def test_text_rows_are_the_normalised_mean_over_the_templates(clip: vlm.Vlm) -> None:
    one, two = (full_length(clip, [f"{t} {prompt_name(n)}" for n in NAMES]) for t in ("a photo of", "people do"))
    expected = functional.normalize((one + two) / 2, dim=1)
    assert (text.text_rows(clip, NAMES, ("a photo of {}", "people do {}")) - expected).abs().max() < 1e-6
    assert all(
        "{}" in t for templates in (text.TEMPLATES, *(d.templates for d in DATASETS.values())) for t in templates
    )


def test_a_residual_of_zero_leaves_the_rows_and_rows_stay_unit() -> None:
    residual = TextResidual(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    assert torch.allclose(residual(), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    residual.residual.data[1] = torch.tensor([1.0, 0.0])
    assert torch.allclose(residual()[1], torch.tensor([0.5, 0.5]).sqrt())


def test_image_rows_equal_open_clips_own_preprocessing_and_forward(clip: vlm.Vlm) -> None:
    images = [Image.fromarray(np.random.default_rng(i).integers(0, 255, (50, 70, 3), np.uint8)) for i in range(3)]
    open_clip = vlm.import_open_clip()
    transform = open_clip.image_transform(32, is_train=False)
    with torch.no_grad():
        expected = clip.model.encode_image(torch.stack([transform(i) for i in images]), normalize=True)
    rows = clip.encode_images(torch.stack([clip.preprocess(image) for image in images]))
    assert (rows - expected).abs().max() < 1e-6
    assert clip.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)


def test_random_weights_follow_the_seed_and_leave_the_global_generator_alone(tmp_path) -> None:
    name = tiny.folder(tmp_path / "tiny")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (vlm.load(name, "random", seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.model.text_projection, same.model.text_projection)
    assert not torch.equal(one.model.text_projection, other.model.text_projection)
    assert vlm.load(name, "random", text_only=True).model.visual is None
    half = vlm.load(name, "random", precision="bfloat16", seed=1)
    image = torch.randn(2, 3, 32, 32)
    assert functional.cosine_similarity(half.encode_images(image), one.encode_images(image)).min() > 0.995
    assert functional.cosine_similarity(*(text.encode_text(m, NAMES) for m in (half, one))).min() > 0.995


def test_a_checkpoint_file_is_read_and_one_that_would_run_code_is_not(tmp_path) -> None:
    source, name = tiny.model(seed=7), tmp_path / "tiny-local.json"
    tiny.folder(tmp_path)
    name.write_text((tmp_path / "open_clip_config.json").read_text().removeprefix('{"model_cfg": ')[:-1])
    vlm.import_open_clip().add_model_config(name)
    weights = {key: value.contiguous() for key, value in source.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "w.safetensors")
    torch.save(weights, tmp_path / "w.pt")
    for file in ("w.safetensors", "w.pt"):
        read = vlm.load("tiny-local", str(tmp_path / file))
        assert torch.equal(read.model.text_projection, source.text_projection)
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors does not hold weights of tiny-local"):
        vlm.load("tiny-local", str(tmp_path / "other.safetensors"))
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(made.Hostile(open, str(tmp_path / "touched"), "w")))
    with pytest.raises(ValueError, match=r"evil\.pt is not a plain state dict and is not opened"):
        vlm.load("tiny-local", str(tmp_path / "evil.pt"))
    assert not (tmp_path / "touched").exists()


def test_unknown_names_are_refused_with_the_nearest_and_a_missing_file_as_such() -> None:
    with pytest.raises(ValueError, match=r"unknown open_clip model 'ViT-B16'; nearest: .*ViT-B-16"):
        vlm.load("ViT-B16", "openai")
    with pytest.raises(ValueError, match=r"unknown weights 'laion2b' for ViT-B-16: .*nearest: .*laion2b_s34b_b88k"):
        vlm.load("ViT-B-16", "laion2b")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint file here/w\.pt"):
        vlm.load("ViT-B-16", "here/w.pt")
    with pytest.raises(ValueError, match="unknown precision 'half'; choose one of float32, bfloat16"):
        vlm.load("ViT-B-16", "random", precision="half")
    with pytest.raises(ValueError, match="device 'cud' cannot be used here"):
        vlm.load("ViT-B-16", "random", device="cud")


def test_without_network_the_error_says_how_to_bring_the_weights(monkeypatch, tmp_path) -> None:
    vlm.import_open_clip()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError) as caught:
        vlm.load("ViT-B-32", "openai")
    for part in ("create_model('ViT-B-32', 'openai')", "--pretrained FOLDER/open_clip_model.safetensors", "quickgelu"):
        assert part in str(caught.value)


def run(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120).returncode


@pytest.fixture(scope="module")
def torchvision_imports() -> bool:
    return run("import torchvision") == 0


def test_open_clip_imports_where_torchvision_alone_does_not(torchvision_imports: bool) -> None:
    if torchvision_imports:
        pytest.skip("torchvision imports by itself on this machine")
    assert run("from wtal_lib.video import vlm; vlm.import_open_clip(); assert vlm._LIBRARY") == 0


def test_operators_that_are_there_are_not_declared_again(torchvision_imports: bool) -> None:
    code = "from wtal_lib.video import vlm\nvlm.import_open_clip()\nassert not vlm._LIBRARY"
    if not torchvision_imports:
        declare = "; ".join(f"library.define({schema!r})" for schema in vlm.TORCHVISION_SCHEMAS)
        code = f"import torch; library = torch.library.Library('torchvision', 'DEF'); {declare}\n{code}"
    assert run(code) == 0
