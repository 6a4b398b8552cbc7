"""Makes LoRA adapters with peft, as people bring them, and says what peft answers with each.

usage: python foreign_adapters.py MODEL OUT

OUT/NAME holds each adapter; OUT/expected.json {"ids": [...], "NAME": logits of every position, flat}
"""

import json
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

torch.manual_seed(3)
torch.set_num_threads(1)

COMMON = {"r": 4, "lora_alpha": 6, "task_type": "CAUSAL_LM"}
ADAPTERS = {
    # Some modules of one layer alone, scaled by the root of the rank.
    "rslora": LoraConfig(**COMMON, use_rslora=True, target_modules=["q_proj", "k_proj", "down_proj"], layers_to_transform=[1]),
    "all-linear": LoraConfig(**COMMON, target_modules="all-linear", lora_dropout=0.1),
    "dora": LoraConfig(**COMMON, use_dora=True, target_modules=["q_proj"]),
    "dora-of-a-layer": LoraConfig(**COMMON, use_dora=True, target_modules=["q_proj"], layers_to_transform=[1]),
    "saved-modules": LoraConfig(**COMMON, target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "bias": LoraConfig(**COMMON, target_modules=["q_proj"], bias="lora_only"),
    "rank-pattern": LoraConfig(**COMMON, target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 2}),
    "alpha-pattern": LoraConfig(**COMMON, target_modules=["q_proj", "v_proj"], alpha_pattern={"v_proj": 2}),
    "embedding": LoraConfig(**COMMON, target_modules=["q_proj", "embed_tokens"]),
    "pissa": LoraConfig(**COMMON, target_modules=["q_proj"], init_lora_weights="pissa"),
    "tokens": LoraConfig(**COMMON, target_modules=["q_proj"], trainable_token_indices=[1, 2]),
}

if __name__ == "__main__":
    model_path, out = sys.argv[1:]
    ids = [5, 9, 40, 77, 101, 13, 60, 3, 250, 18]
    expected = {"ids": ids}
    for name, config in ADAPTERS.items():
        base = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
        model = get_peft_model(base, config).eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                if "lora_magnitude" in key:
                    value.mul_(1.1)
                elif "lora_" in key:
                    value.normal_(0, 0.1)
            expected[name] = model(input_ids=torch.tensor([ids])).logits[0].flatten().tolist()
        folder = os.path.join(out, name)
        model.save_pretrained(folder)
        if name == "rslora":
            torch.save(model.state_dict(), os.path.join(out, "adapter_model.bin"))
    json.dump(expected, open(os.path.join(out, "expected.json"), "w"))
