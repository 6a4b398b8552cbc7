"""Asks transformers (and peft) about a model on given token ids.

usage: python causal_lm.py REQUEST.json ANSWER.json

REQUEST: one or a list of {"model": folder or .gguf file, "adapter": PEFT folder or null,
          "rows": [{"ids": [...], "loss": [0 or 1 ...]}], "prompts": [[...]], "maxTokens": n, "logits": [[...]]}
ANSWER:  to each {"losses": [{"sum", "count"}] in nats, a mark on token i means: predicting it from what precedes it;
          "greedy": [{"ids": [...], "gaps": [...]}] the gap is that between the two best logits at each token;
          "logits": [[...]] of the last position of each}
"""

import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM


def load(path, adapter):
    if path.endswith(".gguf"):
        folder, file = os.path.split(path)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    else:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    return model.eval()


@torch.no_grad()
def row_loss(model, row):
    ids = torch.tensor([row["ids"]])
    logp = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
    nll = -logp.gather(1, ids[0, 1:, None])[:, 0]
    keep = torch.tensor(row["loss"][1:], dtype=torch.bool)
    return {"sum": nll[keep].double().sum().item(), "count": int(keep.sum())}


@torch.no_grad()
def greedy(model, prompt, length):
    ids, gaps, past, step = [], [], None, torch.tensor([prompt])
    for _ in range(length):
        out = model(input_ids=step, past_key_values=past, use_cache=True)
        past = out.past_key_values
        best = out.logits[0, -1].topk(2)
        gaps.append((best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
        step = torch.tensor([[ids[-1]]])
    return {"ids": ids, "gaps": gaps}


def answer(request):
    model = load(request["model"], request.get("adapter"))
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([ids])).logits[0, -1].tolist() for ids in request.get("logits", [])]
    return {
        "losses": [row_loss(model, row) for row in request.get("rows", [])],
        "greedy": [greedy(model, prompt, request.get("maxTokens", 64)) for prompt in request.get("prompts", [])],
        "logits": logits,
    }


if __name__ == "__main__":
    asked = json.load(open(sys.argv[1]))
    many = isinstance(asked, list) and len(asked) > 1
    torch.set_num_threads(1 if many else 2)  # many are tiny, where a second thread only waits
    answers = [answer(request) for request in asked] if isinstance(asked, list) else answer(asked)
    json.dump(answers, open(sys.argv[2], "w"))
