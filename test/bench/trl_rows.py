"""LoRA training by TRL's SFTTrainer on rows that were turned into tokens before, for a benchmark beside Fettle's.

usage: python trl_rows.py MODEL ROWS.jsonl defaults|matched STEPS ROWS_A_STEP THREADS RATE HELD_OUT

MODEL is a .gguf file or a Hugging Face folder; ROWS.jsonl has {"input_ids": [...], "completion_mask": [...]}, the last
HELD_OUT of them not to train on. "defaults" is what SFTTrainer does unasked (bf16, gradient checkpointing); "matched" is
fp32 without checkpointing, a constant rate, no clipping other than Fettle's, rows in their order. Prints one line of JSON:
{"seconds": ..., "rows": ..., "heldOutLoss": ..., "peakBytes": ...}; loading and the first step are not counted.
"""

import json
import os
import resource
import sys
import tempfile
import time

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

path, rows_file, kind = sys.argv[1:4]
steps, batch, threads = map(int, sys.argv[4:7])
rate, held_out = float(sys.argv[7]), int(sys.argv[8])
torch.set_num_threads(threads)
folder, file = os.path.split(path) if path.endswith(".gguf") else (path, None)
matched = kind == "matched"
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, dtype=torch.float32 if matched else torch.bfloat16
)
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
rows = [json.loads(line) for line in open(rows_file)]
training = Dataset.from_list(rows[: len(rows) - held_out])


class Clock(TrainerCallback):
    """Times from the end of the first step to the end of the last."""

    began = ended = None

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        if self.began is None:
            self.began = now
        self.ended = now


clock = Clock()
settings = (
    dict(bf16=False, gradient_checkpointing=False, lr_scheduler_type="constant", max_grad_norm=1.0, weight_decay=0.0)
    if matched
    else {}
)
with tempfile.TemporaryDirectory() as out:
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=training,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=SFTConfig(
            output_dir=out,
            max_steps=steps + 1,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            logging_steps=1000,
            disable_tqdm=True,
            completion_only_loss=True,
            **settings,
        ),
        callbacks=[clock],
    )
    trainer.train()
    seconds = clock.ended - clock.began
    model = trainer.model.eval()
total, count = 0.0, 0
with torch.no_grad():
    for row in rows[len(rows) - held_out :]:
        ids = torch.tensor([row["input_ids"]])
        mask = torch.tensor(row["completion_mask"][1:]).bool()
        losses = torch.nn.functional.cross_entropy(
            model(input_ids=ids).logits[0, :-1].float(), ids[0, 1:], reduction="none"
        )
        total += losses[mask].sum().item()
        count += int(mask.sum())
print(
    json.dumps(
        {
            "seconds": seconds,
            "rows": steps * batch,
            "heldOutLoss": total / count if count else None,
            "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    ),
    flush=True,
)
