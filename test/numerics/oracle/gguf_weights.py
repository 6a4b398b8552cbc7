"""Writes what transformers reads from a GGUF file: for each weight its shape and the SHA-256 of its float32 numbers.

usage: python gguf_weights.py MODEL.gguf OUT.json

OUT: {"config": {...}, "weights": {name: {"shape": [...], "sha256": "..."}}}; a head tied to the embedding is left out.
"""

import hashlib
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM

KEYS = [
    "model_type", "hidden_act", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "vocab_size", "tie_word_embeddings", "attention_bias", "mlp_bias",
    "bos_token_id", "eos_token_id",
]

if __name__ == "__main__":
    folder, file = os.path.split(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    config = model.config.to_dict()
    weights = {
        name: {"shape": list(value.shape), "sha256": hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()}
        for name, value in model.state_dict().items()
        if not (name == "lm_head.weight" and config["tie_word_embeddings"])
    }
    wanted = {key: config[key] for key in KEYS}
    # transformers 5 keeps the base of the rotary positions apart.
    wanted["rope_theta"] = config["rope_parameters"]["rope_theta"]
    # The file holds a float32.
    wanted["rms_norm_eps"] = float(f"{config['rms_norm_eps']:.7g}")
    with open(sys.argv[2], "w") as out:
        json.dump({"config": wanted, "weights": weights}, out, indent=0)
        out.write("\n")
