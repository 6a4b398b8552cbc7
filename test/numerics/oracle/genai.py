"""Asks onnxruntime-genai about an exported ONNX folder.

usage: python genai.py REQUEST ANSWER

REQUEST  {"model": folder, "texts": [...], "conversation": [messages] or null, "prompts": [[ids]], "maxTokens": n, "row": [ids], "from": n}
ANSWER   tokens of each text, the conversation in the model's form, greedy tokens of each prompt (up to an end of answer,
         which is the last one then), and the summed negative log likelihood of the row's tokens after `from`, in nats.
"""

import json
import sys

import numpy as np
import onnxruntime_genai as og

with open(sys.argv[1], encoding="utf-8") as file:
    request = json.load(file)
model = og.Model(request["model"])
tokenizer = og.Tokenizer(model)


def generator(length: int) -> og.Generator:
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=length, do_sample=False)
    return og.Generator(model, params)


def greedy(prompt: list[int]) -> list[int]:
    made = generator(len(prompt) + request["maxTokens"])
    made.append_tokens(np.array(prompt, dtype=np.int32))
    while not made.is_done():
        made.generate_next_token()
    return [int(token) for token in made.get_sequence(0)][len(prompt) :]


def loss(row: list[int], start: int) -> float:
    """Token by token: the logits of the last one are all that is handed out."""
    made = generator(len(row) + 1)
    made.append_tokens(np.array(row[: start + 1], dtype=np.int32))
    total = 0.0
    for token in row[start + 1 :]:
        logits = np.asarray(made.get_logits(), dtype=np.float64).reshape(-1)
        top = logits.max()
        total += float(np.log(np.exp(logits - top).sum()) + top - logits[token])
        made.append_tokens(np.array([token], dtype=np.int32))
    return total


answer = {
    "tokens": [[int(token) for token in tokenizer.encode(text)] for text in request["texts"]],
    "conversation": None
    if request["conversation"] is None
    else tokenizer.apply_chat_template(json.dumps(request["conversation"]), add_generation_prompt=True),
    "greedy": [greedy(prompt) for prompt in request["prompts"]],
    "loss": loss(request["row"], request["from"]),
}
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(answer, file)
