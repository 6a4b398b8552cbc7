"""What each choice is worth by lm-evaluation-harness's rule acc_norm, with transformers' own tokenizer and model.

usage: python choices.py REQUEST.json ANSWER.json

request: {"model": folder, "items": [{"prompt": text, "choices": [text, ...]}, ...]}
answer: {"worth": [[nats a character of each choice], ...], "chosen": [index, ...], "merged": [[bool of each choice], ...]}
`merged`: whether the tokens of the whole do not begin with those of the prompt alone.

The rule, written down here from the harness: TemplateLM._encode_pair moves blanks at the end of the context to the
continuation, cuts both together, and takes the tokens after as many as the context alone has; ConfigurableTask sets
a blank between (target_delimiter) and divides by the characters of the choice, without that blank.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def encode_pair(tokenizer, context, continuation):
    blanks = len(context) - len(context.rstrip())
    if blanks > 0:
        continuation = context[-blanks:] + continuation
        context = context[:-blanks]
    whole = tokenizer(context + continuation)["input_ids"]
    alone = tokenizer(context)["input_ids"]
    return whole, len(alone), whole[: len(alone)] != alone


@torch.no_grad()
def loglikelihood(model, ids, start):
    logits = model(torch.tensor([ids])).logits[0].double()
    logprobs = torch.log_softmax(logits, dim=-1)
    return sum(logprobs[i - 1, ids[i]].item() for i in range(start, len(ids)))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    model = AutoModelForCausalLM.from_pretrained(request["model"], dtype=torch.float32).eval()
    worth, merged = [], []
    for item in request["items"]:
        pairs = [encode_pair(tokenizer, item["prompt"], " " + choice) for choice in item["choices"]]
        worth.append(
            [loglikelihood(model, ids, start) / len(choice) for (ids, start, _), choice in zip(pairs, item["choices"])]
        )
        merged.append([moved for _, _, moved in pairs])
    chosen = [max(range(len(each)), key=each.__getitem__) for each in worth]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"worth": worth, "chosen": chosen, "merged": merged}, file)
