"""Writes tiny random Llamas with what transformers, peft and PyTorch make of them.

usage: python tiny_llama.py OUT

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

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, ROWS, TIME = 20, 2, 24
ADAMW = {"learningRate": 5e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weightDecay": 0.01, "maxGradNorm": 1.0}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "tied": {"tie_word_embeddings": True, "num_key_value_heads": 2},
    "untied": {"tie_word_embeddings": False, "num_key_value_heads": 1, "rope_theta": 100000.0, "rms_norm_eps": 1e-6},
}


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


def make(out: Path, name: str, changes: dict) -> None:
    torch.manual_seed(1234)
    generator = torch.Generator().manual_seed(99)
    config = LlamaConfig(
        hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, vocab_size=160,
        max_position_embeddings=256, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
        **{"rope_theta": 10000.0, "rms_norm_eps": 1e-5, **changes},
    )
    base = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for parameter in base.parameters():
            if parameter.dim() == 1:  # norms that do something
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    folder = out / name
    base.save_pretrained(folder / "model")
    ids, labels = batch(generator, config.vocab_size)
    tensors = {"ids": ids, "labels": labels}
    with torch.no_grad():
        tensors["logits"] = base(input_ids=ids).logits.clone()

    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS, task_type="CAUSAL_LM"))
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
    torch.set_num_threads(2)
    for case, settings in CASES.items():
        make(Path(sys.argv[1]), case, settings)
