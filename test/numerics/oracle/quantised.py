"""LoRA steps over bases in fewer bits, simulated in PyTorch with float64: rounded products, or weights in halves.

usage: python quantised.py REQUEST.json

REQUEST  a list of {"model": a Hugging Face folder, "adapter": a PEFT folder, "precision": "fp16", "int8" or "int4",
"rounding": of the last two the rounding.safetensors of a checkpoint, "weights": of int4 a safetensors file with the weights that its steps stand
for, "ids": [[...]], "out": a safetensors file}. Writes into each `out`: `logits` of the ids, `loss` over all next tokens
(the mean), and `grad.NAME` for each matrix of the adapter; of int4 also `rounded.NAME`, the weights as GPTQ rounds them
after the rows of `rounding`.
"""

import json
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import gptq

# The projection of each linear layer, by the end of its path: those of one projection share their input.
PROJECTIONS = {
    "q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "qkv_proj": "qkv", "attn.c_attn": "qkv",
    "o_proj": "o", "attn.c_proj": "o",
    "gate_proj": "gateUp", "up_proj": "gateUp", "gate_up_proj": "gateUp", "mlp.c_fc": "up",
    "down_proj": "down", "mlp.c_proj": "down",
}  # fmt: skip


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
    """Summed cross-entropy whose way back rounds what each token pulls, and not the label's own share of it."""

    @staticmethod
    def forward(ctx, h, forward, backward, centre, cap, labels):
        z = rows_rounded(h, -127, 127) @ forward.T
        capped = cap * torch.tanh(z / cap) if cap else z
        slope = 1 - (capped / cap) ** 2 if cap else torch.ones_like(z)
        p = capped.softmax(-1)
        ctx.save_for_backward(p * slope, slope.gather(1, labels[:, None]), backward, centre, labels)
        return -p.gather(1, labels[:, None]).log().sum()

    @staticmethod
    def backward(ctx, dy):
        pulls, own, backward, centre, labels = ctx.saved_tensors
        towards = rows_rounded(pulls, 0, 255) @ backward + pulls.sum(-1, keepdim=True) * centre
        return dy * (towards - own * (backward[labels] + centre)), None, None, None, None, None


def inputs_of(linears, run):
    """What the given linear layers multiply while `run` runs, [rows, from]."""
    seen = {name: [] for name in linears}
    hooks = [
        linear.register_forward_pre_hook(lambda _, given, name=name: seen[name].append(given[0].flatten(0, -2)))
        for name, linear in linears.items()
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def single(x):
    """As float32 keeps it: what weights are rounded by is kept so, and decides on which step a weight falls."""
    return x.float().double()


def roughness(weight, peaks):
    """What each input of a weight is multiplied by (SmoothQuant, alpha 0.5)."""
    rough = single(peaks.clamp_min(1e-5) ** 0.5 / weight.abs().amax(0).clamp_min(1e-5) ** 0.5)
    return single(rough / rough.mean())


def int8_rounded(weight, largest):
    """Rounded by output, and by input."""
    by_output = single(weight.abs().amax(1, keepdim=True).clamp_min(1e-5) / largest)
    by_input = single(weight.abs().amax(0, keepdim=True).clamp_min(1e-5) / largest)
    return (weight / by_output).round() * by_output, (weight / by_input).round() * by_input


def projected(product, linear, inverse, pair):
    """A linear layer whose product is rounded; its bias is not."""
    bias = 0 if getattr(linear, "bias", None) is None else linear.bias

    def forward(x):
        return product.apply((x * inverse).flatten(0, -2), *pair).unflatten(0, x.shape[:-1]) + bias

    return forward


def opened(request):
    model = AutoModelForCausalLM.from_pretrained(request["model"], dtype=torch.float64, attn_implementation="eager")
    return PeftModel.from_pretrained(model, request["adapter"], is_trainable=True).double().eval()


def write(request, model, out):
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            out["grad." + name.replace("base_model.model.", "").replace(".default", "")] = parameter.grad
    save_file({name: tensor.float().contiguous() for name, tensor in out.items()}, request["out"])


def halved(request):
    model = opened(request)
    whole = model.base_model.model
    matrices = [whole.get_input_embeddings(), whole.get_output_embeddings()]
    for path, module in whole.base_model.named_modules():
        if any(path.endswith(end) for end in PROJECTIONS):
            matrices.append(getattr(module, "base_layer", module))
    for matrix in matrices:
        matrix.weight.data = matrix.weight.data.half().double()
    ids = torch.tensor(request["ids"])
    answer = model(input_ids=ids, labels=ids)
    answer.loss.backward()
    write(request, model, {"logits": answer.logits.detach(), "loss": answer.loss.detach().reshape(1)})


def simulate(request):
    model = opened(request)
    rounding = {name: tensor.double() for name, tensor in load_file(request["rounding"]).items()}
    largest = rounding["largest"].item()
    whole = model.base_model.model
    decoder = whole.base_model
    int4 = request["precision"] == "int4"
    at, layers = ("transformer.h", decoder.h) if hasattr(decoder, "h") else ("model.layers", decoder.layers)
    out = {}
    if int4:
        given = load_file(request["weights"])
        linears = {}
        for index, layer in enumerate(layers):
            for path, module in layer.named_modules():
                if any(path.endswith(end) for end in PROJECTIONS):
                    linears[f"{at}.{index}.{path}.weight"] = getattr(module, "base_layer", module)
        rows = [rounding[f"rows.{i}"].long()[None] for i in range(sum(name.startswith("rows.") for name in rounding))]
        with model.disable_adapter():
            last = []
            seen = inputs_of(linears, lambda: last.extend(decoder(input_ids=row).last_hidden_state for row in rows))
            seen_by_head = single(torch.cat(last, 1).abs().amax((0, 1)))
        for name, linear in linears.items():
            turned = type(linear).__name__ == "Conv1D"
            weight = linear.weight.data.T if turned else linear.weight.data
            # So few inputs that they are one group.
            out[f"rounded.{name}"] = gptq.rounded(weight, seen[name], [weight.shape[1]])
            linear.weight.data = given[name].double().T if turned else given[name].double()
    for index, layer in enumerate(layers):
        siblings = {}
        for path, module in layer.named_modules():
            for end, projection in PROJECTIONS.items():
                if path.endswith(end):
                    siblings.setdefault(projection, []).append(getattr(module, "base_layer", module))
        for projection, linears in siblings.items():
            # GPT-2 keeps its weights the other way round, [in, out].
            weights = [l.weight.data.T if type(l).__name__ == "Conv1D" else l.weight.data for l in linears]
            if int4:
                product, inverse = Plain, torch.ones(weights[0].shape[1])
                pairs = [[weight] * 2 for weight in weights]
            else:
                product = Int8
                rough = roughness(torch.cat(weights), rounding[f"peaks.{at}.{index}.{projection}"])
                inverse, pairs = 1 / rough, [int8_rounded(weight * rough, largest) for weight in weights]
            for linear, pair in zip(linears, pairs):
                linear.forward = projected(product, linear, inverse, pair)

    head = whole.get_output_embeddings().weight.data
    table = whole.get_input_embeddings().weight.data
    rough = roughness(head, rounding["peaks.head"] if not int4 else seen_by_head)
    forward, centre = int8_rounded(head * rough, largest)[0], head.mean(0)
    # The way back is kept without the mean of its rows.
    backward = int8_rounded((head - centre) * rough, largest)[1]
    if int4:
        middle = table.mean(0)
        rounded = int8_rounded(table - middle, largest)[1] + middle
        whole.get_input_embeddings().weight = torch.nn.Parameter(rounded, requires_grad=False)
    cap = getattr(whole.config, "final_logit_softcapping", None)
    ids = torch.tensor(request["ids"])
    scaled = decoder(input_ids=ids).last_hidden_state / rough
    logits = rows_rounded(scaled, -127, 127) @ forward.T
    labels = ids[:, 1:].flatten()
    loss = HeadLoss.apply(scaled[:, :-1].flatten(0, 1), forward, backward, centre * rough, cap, labels) / labels.numel()
    loss.backward()
    out["logits"] = (cap * torch.tanh(logits / cap) if cap else logits).detach()
    out["loss"] = loss.detach().reshape(1)
    write(request, model, out)


torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # so small that a second thread only waits
for each in json.load(open(sys.argv[1])):
    (halved if each["precision"] == "fp16" else simulate)(each)
