"""LoRA steps of transformers + peft, driven by lines on stdin, for a benchmark that takes turns.

usage: python peft_steps.py MODEL fp32|bf16 TIME BATCH RANK THREADS [cpu|cuda]

MODEL is a .gguf file or a Hugging Face folder. Each line "N" on stdin runs N steps and answers with one line of JSON:
{"seconds": [...], "losses": [...], "peakBytes": n}. All tokens carry loss; every step sees the same ids as
Fettle's side: (i * 7919) % vocab. On a graphics processor the peak is what PyTorch held there.
"""

import json
import os
import resource
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

path, precision, length, rows, rank, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
device = sys.argv[7] if len(sys.argv) > 7 else "cpu"
torch.set_num_threads(threads)
dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
if path.endswith(".gguf"):
    folder, file = os.path.split(path)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=dtype)
else:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")).to(device)
model.train()
optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
# One token more than LENGTH, so that LENGTH positions carry loss on both sides.
ids = torch.tensor([[(i * 7919) % model.config.vocab_size for i in range(length + 1)]] * rows, device=device)
print(json.dumps({"ready": True, "torch": torch.__version__}), flush=True)
for line in sys.stdin:
    seconds, losses = [], []
    for _ in range(int(line)):
        start = time.perf_counter()
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        del logits
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "losses": losses, "peakBytes": peak}), flush=True)
