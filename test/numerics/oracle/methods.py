"""Writes what PyTorch and peft make of tiny random models by each method of training.

usage: python methods.py OUT [METHOD...]

OUT/<method>/model/      the base model, a Hugging Face folder (f32)
OUT/<method>/tuned/      a PEFT adapter with random values, or for `full` the model itself
OUT/<method>/expected.safetensors, expected.json   as tiny_models.py writes them; gradients by the names that the files have
"""

import json
import re
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
import transformers

from tiny_models import ADAMW, CASES, STEPS, batch, config_of, loss_of

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RATIO = 4
# Times the ratio still small enough that float32's rounding does not grow over the steps.
RATE = 5e-4
LORA = {"r": 4, "lora_alpha": 8, "target_modules": LINEARS, "task_type": "CAUSAL_LM"}
SMALL = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 160}
TIED = ("Llama", {**SMALL, "tie_word_embeddings": True})
UNTIED = ("Llama", {**SMALL, "tie_word_embeddings": False})


def case(name):
    family, _, settings = CASES[name]
    return family, settings


def more(base, **changes):
    return base[0], {**base[1], **changes}


METHODS = {
    "rslora": (TIED, {**LORA, "use_rslora": True}),
    "dora": (UNTIED, {**LORA, "use_dora": True, "target_modules": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]}),
    "dora-bias": (more(TIED, attention_bias=True, mlp_bias=True), {**LORA, "use_dora": True}),
    "dora-gpt2": (case("gpt2"), {**LORA, "use_dora": True, "target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    "saved": (UNTIED, {**LORA, "modules_to_save": ["embed_tokens", "lm_head"]}),
    "saved-tied": (TIED, {**LORA, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
    "full": (UNTIED, None),
    "full-tied": (more(TIED, attention_bias=True), None),
    **{f"full-{name}": (case(name), None) for name in CASES if not name.startswith(("tied", "untied"))},
}


def short(name):
    """A parameter's name as it stands in a file."""
    name = name.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")
    return re.sub(r"lora_magnitude_vector\.weight$", "lora_magnitude_vector", name)


def make(out: Path, method: str, family: str, settings: dict, lora: dict | None) -> None:
    torch.manual_seed(4321)
    generator = torch.Generator().manual_seed(77)
    config = config_of(family, settings)
    architecture = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    model = getattr(transformers, architecture)(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    # PyTorch gives the padding token's row no gradient; here 0 is a token like any other.
    model.get_input_embeddings().padding_idx = None
    folder = out / method
    model.save_pretrained(folder / "model")
    if lora:
        model = get_peft_model(model, LoraConfig(**lora))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.save_pretrained(folder / "tuned")
    trained = {short(name): parameter for name, parameter in model.named_parameters() if parameter.requires_grad}

    ids, labels = batch(generator, config.vocab_size)
    tensors = {"ids": ids, "labels": labels}
    with torch.no_grad():
        tensors["logits"] = model(input_ids=ids).logits.clone()
        greedy = model.generate(input_ids=ids[:1, :6], max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)[0, 6:]
    loss = loss_of(model, ids, labels)
    loss.backward()
    for name, parameter in trained.items():
        tensors[f"grad.{name}"] = parameter.grad.clone()
    model.zero_grad()

    decay = ADAMW["weightDecay"]
    groups = [
        {"params": [p], "lr": RATE * (RATIO if ".lora_B." in name and lora.get("use_rslora") else 1), "weight_decay": decay if p.dim() > 1 else 0}
        for name, p in trained.items()
    ]
    optimiser = torch.optim.AdamW(groups, betas=(ADAMW["beta1"], ADAMW["beta2"]), eps=ADAMW["epsilon"])
    batches = [batch(generator, config.vocab_size) for _ in range(STEPS)]
    tensors["train.ids"] = torch.stack([b[0] for b in batches])
    tensors["train.labels"] = torch.stack([b[1] for b in batches])
    losses, norms = [], []
    for step_ids, step_labels in batches:
        step_loss = loss_of(model, step_ids, step_labels)
        step_loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(list(trained.values()), ADAMW["maxGradNorm"]).item())
        optimiser.step()
        optimiser.zero_grad()
        losses.append(step_loss.item())
    integers = {k: v.to(torch.int32) for k, v in tensors.items() if not v.is_floating_point()}
    save_file({**{k: v.contiguous() for k, v in tensors.items() if v.is_floating_point()}, **integers}, folder / "expected.safetensors")
    facts = {"loss": loss.item(), "adamw": {**ADAMW, "learningRate": RATE, "loraPlusRatio": RATIO if method == "rslora" else 1}, "losses": losses, "gradNorms": norms, "prompt": ids[0, :6].tolist(), "greedy": greedy.tolist()}
    (folder / "expected.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small that a second thread only waits
    for method in sys.argv[2:] or METHODS:
        (family, settings), lora = METHODS[method]
        make(Path(sys.argv[1]), method, family, settings, lora)
