"""LoRA training by TRL's SFTTrainer on rows that were turned into tokens before, for a benchmark beside Fettle's.

usage: python trl_rows.py MODEL ROWS.jsonl defaults|matched SETTINGS

MODEL is a Hugging Face folder; ROWS.jsonl has {"input_ids": [...], "completion_mask": [...]}, the last
`heldOut` of them not to train on; SETTINGS is JSON: steps, batch, threads, learningRate, maxGradNorm, rank, alpha,
maxLength, heldOut. Rows are taken in their order, so that every side has the same batches. All else in "defaults" is what
SFTTrainer does unasked (bf16, gradient checkpointing, its rate and schedule); "matched" is fp32 without checkpointing,
with the given rate, constant, the given clipping and no decay. Prints one line of JSON: {"seconds": ..., "rows": ...,
"heldOutLoss": ..., "labelled": [of each step], "peakBytes": ...}; loading and the first step are not counted.
"""

import json
import resource
import sys
import tempfile
import time

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

path, rows_file, kind, given = sys.argv[1:]
given = json.loads(given)
steps, batch, held_out = given["steps"], given["batch"], given["heldOut"]
torch.set_num_threads(given["threads"])
matched = kind == "matched"
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32 if matched else torch.bfloat16)
tokenizer = AutoTokenizer.from_pretrained(path)
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


class Counting(SFTTrainer):
    """Notes the tokens that carry loss in each step: what the first of a row would be predicted from is not there."""

    labelled = []

    def training_step(self, model, inputs, *args, **kwargs):
        self.labelled.append(int((inputs["labels"][:, 1:] != -100).sum()))
        return super().training_step(model, inputs, *args, **kwargs)


clock = Clock()
settings = (
    dict(
        bf16=False,
        gradient_checkpointing=False,
        learning_rate=given["learningRate"],
        lr_scheduler_type="constant",
        max_grad_norm=given["maxGradNorm"],
        weight_decay=0.0,
    )
    if matched
    else {}
)
with tempfile.TemporaryDirectory() as out:
    trainer = Counting(
        model=model,
        processing_class=tokenizer,
        train_dataset=training,
        peft_config=LoraConfig(
            r=given["rank"], lora_alpha=given["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        args=SFTConfig(
            output_dir=out,
            max_steps=steps + 1,
            per_device_train_batch_size=batch,
            train_sampling_strategy="sequential",
            max_length=given["maxLength"],
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
            "heldOutLoss": total / count,
            "labelled": trainer.labelled,
            "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    ),
    flush=True,
)
