"""A LoRA step over a base whose frozen products are rounded, simulated in PyTorch with float64.

usage: python quantised.py MODEL ADAPTER ROUNDING IDS.json OUT

MODEL is a Hugging Face folder, ADAPTER a PEFT folder, ROUNDING the rounding.safetensors of a checkpoint, IDS.json
{"precision": "int8", "ids": [[...]]}. Writes into OUT, a safetensors file: `logits` of the ids, `loss` over all next
tokens (the mean), and `grad.NAME` for each matrix of the adapter.
"""

import json
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

model_folder, adapter_folder, rounding_file, request_file, out_file = sys.argv[1:]
request = json.load(open(request_file))
FUSED = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "o_proj": "o", "gate_proj": "gateUp", "up_proj": "gateUp", "down_proj": "down"}
SIBLINGS = {"qkv": ["q_proj", "k_proj", "v_proj"], "gateUp": ["gate_proj", "up_proj"], "o": ["o_proj"], "down": ["down_proj"]}


def rows_rounded(x, low, high):
    """Each row to whole steps, the largest magnitude on the largest step."""
    step = (x.abs().amax(-1, keepdim=True) / high).clamp_min(1e-30)
    return (x / step).round().clamp(low, high) * step


class Int8(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, forward, backward):
        ctx.save_for_backward(backward)
        return rows_rounded(x, -127, 127) @ forward.T

    @staticmethod
    def backward(ctx, dy):
        (backward,) = ctx.saved_tensors
        return rows_rounded(dy, -127, 127) @ backward, None, None


class Plain(torch.autograd.Function):
    """A product with a weight that is rounded already: only the weight is."""

    @staticmethod
    def forward(ctx, x, weight, _):
        ctx.save_for_backward(weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, dy):
        (weight,) = ctx.saved_tensors
        return dy @ weight, None, None


class HeadLoss(torch.autograd.Function):
    """Summed cross-entropy whose way back rounds the probabilities, not their difference from the labels."""

    @staticmethod
    def forward(ctx, h, forward, backward, labels):
        z = rows_rounded(h, -127, 127) @ forward.T
        p = z.softmax(-1)
        ctx.save_for_backward(p, backward, labels)
        return -p.gather(1, labels[:, None]).log().sum()

    @staticmethod
    def backward(ctx, dy):
        p, backward, labels = ctx.saved_tensors
        return dy * (rows_rounded(p, 0, 255) @ backward - backward[labels]), None, None, None


def blocks_rounded(weight, size=32):
    """16 steps between the smallest and the largest number of each block of inputs, one of them 0 itself."""
    blocks = weight.float().unflatten(1, (-1, size))
    low, high = blocks.amin(-1, keepdim=True).clamp_max(0).double(), blocks.amax(-1, keepdim=True).clamp_min(0).double()
    step = ((high - low) / 15).float().double()
    zero = (-low / step).round()
    return (((blocks.double() / step).round() + zero).clamp(0, 15) - zero).mul(step).flatten(1)


def roughness(weight, peaks):
    """What each input of a weight is multiplied by (SmoothQuant, alpha 0.5)."""
    rough = peaks.clamp_min(1e-5) ** 0.5 / weight.abs().amax(0).clamp_min(1e-5) ** 0.5
    return rough / rough.mean()


def int8_rounded(weight, largest):
    """Rounded by output, and by input."""
    by_output = weight.abs().amax(1, keepdim=True) / largest
    by_input = weight.abs().amax(0, keepdim=True) / largest
    return (weight / by_output).round() * by_output, (weight / by_input).round() * by_input


torch.set_default_dtype(torch.float64)
model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64, attn_implementation="eager")
model = PeftModel.from_pretrained(model, adapter_folder, is_trainable=True).double()
rounding = {name: tensor.double() for name, tensor in load_file(rounding_file).items()}
largest = rounding["largest"].item()
decoder = model.base_model.model.model
int4 = request["precision"] == "int4"
for index, layer in enumerate(decoder.layers):
    parts = {name: module for name, module in layer.named_modules() if name.split(".")[-1] in FUSED}
    linears = {name.split(".")[-1]: getattr(module, "base_layer", module) for name, module in parts.items()}
    for fused, names in SIBLINGS.items():
        together = torch.cat([linears[name].weight.data for name in names])
        if int4:
            product, inverse = Plain, torch.ones(together.shape[1])
            rounded = {name: [blocks_rounded(linears[name].weight.data)] * 2 for name in names}
        else:
            product = Int8
            rough = roughness(together, rounding[f"peaks.model.layers.{index}.{fused}"])
            inverse, rounded = 1 / rough, {name: int8_rounded(linears[name].weight.data * rough, largest) for name in names}

        for name in names:
            linears[name].forward = lambda x, product=product, inverse=inverse, pair=rounded[name]: product.apply(
                (x * inverse).flatten(0, -2), *pair
            ).unflatten(0, x.shape[:-1])

head = model.base_model.model.get_output_embeddings().weight.data
rough = torch.ones(head.shape[1]) if int4 else roughness(head, rounding["peaks.head"])
forward, backward = int8_rounded(head * rough, largest)
if int4:
    model.base_model.model.get_input_embeddings().weight = torch.nn.Parameter(backward.clone(), requires_grad=False)
ids = torch.tensor(request["ids"])
hidden = decoder(input_ids=ids).last_hidden_state
scaled = hidden / rough
logits = rows_rounded(scaled, -127, 127) @ forward.T
labels = ids[:, 1:].flatten()
loss = HeadLoss.apply(scaled[:, :-1].flatten(0, 1), forward, backward, labels) / labels.numel()
loss.backward()
out = {"logits": logits.detach(), "loss": loss.detach().reshape(1)}
for name, parameter in model.named_parameters():
    if parameter.requires_grad:
        out["grad." + name.replace("base_model.model.", "").replace(".default", "")] = parameter.grad
save_file({name: tensor.float().contiguous() for name, tensor in out.items()}, out_file)
