"""Writes tiny random models of every architecture with what transformers, peft and PyTorch make of them.

usage: python tiny_models.py OUT [--spread X] [CASE...]

X is the deviation of the weights, 0.2 unless told: wide enough that every layer does something.

OUT/<name>/model/     the base model, a Hugging Face folder (f32)
OUT/<name>/adapter/   a PEFT adapter with random A and B
OUT/<name>/expected.safetensors
    ids, positions, labels  [rows, time]; labels already shifted, -1 where none
    logits                  [rows, time, vocab] of the base model
    logits.adapter          the same with the adapter
    grad.<parameter>        gradient of the mean loss over the labelled tokens
    train.ids, train.labels [steps, rows, time]
OUT/<name>/expected.json    loss of the batch, losses of the AdamW steps, their settings, the greedy continuation
"""

import argparse
import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
import transformers

STEPS, ROWS, TIME = 20, 2, 24
ADAMW = {"learningRate": 5e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weightDecay": 0.01, "maxGradNorm": 1.0}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
CONV1D = ["c_attn", "c_proj", "c_fc"]

LLAMA = {
    "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 160,
    "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
}  # fmt: skip
TINY = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 259, "pad_token_id": 0,
}  # fmt: skip
GEMMA = {**TINY, "num_hidden_layers": 4, "head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 8}


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


# Windows are shorter than the texts; a text grows over the length at which LongRoPE turns otherwise.
CASES = {
    "tied": ("Llama", LINEARS, {**LLAMA, "tie_word_embeddings": True, "num_key_value_heads": 2}),
    "untied": ("Llama", LINEARS, {**LLAMA, "tie_word_embeddings": False, "num_key_value_heads": 1, "rope_theta": 100000.0, "rms_norm_eps": 1e-6}),
    "llama-linear": ("Llama", LINEARS, {**TINY, **rope("linear", factor=4.0), "attention_bias": True, "mlp_bias": True}),
    "llama-llama3": ("Llama", LINEARS, {**TINY, "max_position_embeddings": 512, **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64), "tie_word_embeddings": True}),
    "llama-yarn": ("Llama", LINEARS, {**TINY, "max_position_embeddings": 256, **rope("yarn", factor=4.0, original_max_position_embeddings=64)}),
    "mistral": ("Mistral", LINEARS, {**TINY, "sliding_window": 8, "head_dim": 24}),
    "qwen2": ("Qwen2", LINEARS, {**TINY, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3", LINEARS, {**TINY, "head_dim": 24}),
    "gemma2": ("Gemma2", LINEARS, {**GEMMA, "attn_logit_softcapping": 4.0, "final_logit_softcapping": 3.0}),
    "gemma3": ("Gemma3", LINEARS, {**GEMMA, "layer_types": (["sliding_attention"] * 2 + ["full_attention"]) * 2, "num_hidden_layers": 6, "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}}),
    "phi3": ("Phi3", FUSED, {**TINY, **rope("default", partial_rotary_factor=0.75), "sliding_window": 20}),
    "phi3-longrope": ("Phi3", FUSED, {**TINY, "max_position_embeddings": 64, "original_max_position_embeddings": 16, **rope("longrope", short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.4], long_factor=[1.0, 1.3, 1.9, 2.8, 4.0, 6.0], partial_rotary_factor=0.75), "tie_word_embeddings": True}),
    "gpt2": ("GPT2", CONV1D, {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 259, "n_positions": 64}),
}  # fmt: skip


def config_of(family, settings, spread=0.2):
    name = "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config"
    fixed = {"max_position_embeddings": 256} if "n_embd" not in settings else {}
    return getattr(transformers, name)(bos_token_id=1, eos_token_id=2, initializer_range=spread, **{**fixed, **settings})


def loss_of(model, ids, labels):
    """Mean negative log likelihood over the labelled positions (labels are shifted already)."""
    logits = model(input_ids=ids).logits.flatten(0, 1)
    flat = labels.flatten()
    keep = flat >= 0
    return torch.nn.functional.cross_entropy(logits[keep], flat[keep])


def batch(generator, vocab):
    ids = torch.randint(0, vocab, (ROWS, TIME + 1), generator=generator)
    labels = ids[:, 1:].clone()
    labels[:, : TIME // 3] = -1
    return ids[:, :-1].contiguous(), labels.contiguous()


def make(out: Path, name: str, spread: float, family: str, linears: list, settings: dict) -> None:
    torch.manual_seed(1234)
    generator = torch.Generator().manual_seed(99)
    config = config_of(family, settings, spread)
    architecture = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    base = getattr(transformers, architecture)(config).float().eval()
    with torch.no_grad():
        for parameter in base.parameters():
            if parameter.dim() == 1:  # norms and biases that do something
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    folder = out / name
    base.save_pretrained(folder / "model")
    ids, labels = batch(generator, config.vocab_size)
    tensors = {"ids": ids, "labels": labels}
    with torch.no_grad():
        tensors["logits"] = base(input_ids=ids).logits.clone()

    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=linears, fan_in_fan_out=family == "GPT2", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    model.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink()  # a template of peft's
    with torch.no_grad():
        tensors["logits.adapter"] = model(input_ids=ids).logits.clone()
        greedy = model.generate(input_ids=ids[:1, :6], max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)[0, 6:]
    loss = loss_of(model, ids, labels)
    loss.backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            short = parameter_name.removeprefix("base_model.model.").replace(".default", "")
            tensors[f"grad.{short}"] = parameter.grad.clone()
    model.zero_grad()

    trainable = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        trainable, lr=ADAMW["learningRate"], betas=(ADAMW["beta1"], ADAMW["beta2"]), eps=ADAMW["epsilon"], weight_decay=ADAMW["weightDecay"]
    )
    batches = [batch(generator, config.vocab_size) for _ in range(STEPS)]
    tensors["train.ids"] = torch.stack([b[0] for b in batches])
    tensors["train.labels"] = torch.stack([b[1] for b in batches])
    losses, norms = [], []
    for step_ids, step_labels in batches:
        step_loss = loss_of(model, step_ids, step_labels)
        step_loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trainable, ADAMW["maxGradNorm"]).item())
        optimiser.step()
        optimiser.zero_grad()
        losses.append(step_loss.item())
    integers = {k: v.to(torch.int32) for k, v in tensors.items() if not v.is_floating_point()}
    save_file({**{k: v.contiguous() for k, v in tensors.items() if v.is_floating_point()}, **integers}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(
        json.dumps({"loss": loss.item(), "adamw": ADAMW, "losses": losses, "gradNorms": norms, "prompt": ids[0, :6].tolist(), "greedy": greedy.tolist()}, indent=1) + "\n"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small that a second thread only waits
    transformers.logging.set_verbosity_error()
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--spread", type=float, default=0.2)
    given = parser.parse_intermixed_args()
    for case in given.cases or CASES:
        make(given.out, case, given.spread, *CASES[case])
