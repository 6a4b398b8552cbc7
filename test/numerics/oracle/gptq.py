"""GPTQ in 4 bits as Frantar et al. 2022 have it, with the Cholesky factor of the inverse, in float64.

usage: python gptq.py REQUEST.json

REQUEST  {"weight": a safetensors file with `weight` [to, from] and `x` [rows, from], "groups": [sizes], "out": a
safetensors file}. Writes `rounded` [to, from].
"""

import json
import sys

import torch
from safetensors.torch import load_file, save_file

BLOCK = 32
DAMPING = 0.03
RANGES = (1, 0.85)


def damped(moments):
    """The sums of x x' over what was seen, as they are used."""
    return moments + torch.eye(len(moments)) * (DAMPING * moments.diagonal().mean())


def steps_of(block, squares):
    """Scale and zero point [to, 1] of the least squared error, weighed by input, among the ranges and zero points tried."""
    low, high = block.amin(1, keepdim=True).clamp_max(0), block.amax(1, keepdim=True).clamp_min(0)
    best = [torch.full_like(low, torch.inf), None, None]
    for towards in (torch.floor, torch.ceil):
        zero = towards(-15 * low / (high - low))
        for share in RANGES:
            centred = (block / ((high - low) * share / 15) + zero).round().clamp(0, 15) - zero
            scale = (squares * centred * block).sum(1, keepdim=True) / (squares * centred**2).sum(1, keepdim=True)
            error = (squares * (scale * centred - block) ** 2).sum(1, keepdim=True)
            better = error < best[0]
            best = [new if old is None else torch.where(better, new, old) for new, old in zip((error, scale, zero), best)]
    return best[1].float().double(), best[2]


def group_rounded(weight, moments):
    """A group of inputs of a weight [to, size], by its moments [size, size]."""
    h = damped(moments)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    upper = torch.linalg.cholesky(inverse, upper=True)
    left, out = weight.clone(), torch.empty_like(weight)
    for first in range(0, weight.shape[1], BLOCK):
        last = min(first + BLOCK, weight.shape[1])
        scale, zero = steps_of(left[:, first:last], h.diagonal()[first:last])
        for i in range(first, last):
            out[:, i] = ((left[:, i] / scale[:, 0] + zero[:, 0]).round().clamp(0, 15) - zero[:, 0]) * scale[:, 0]
            left[:, i:] -= ((left[:, i] - out[:, i]) / upper[i, i])[:, None] * upper[i, i:]
    return out


def rounded(weight, x, sizes):
    """A weight [to, from] after rows x [rows, from] of what it multiplies, its inputs in groups of the given sizes."""
    pairs = zip(weight.split(sizes, 1), x.split(sizes, 1))
    return torch.cat([group_rounded(part, seen.T @ seen) for part, seen in pairs], 1)


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    request = json.load(open(sys.argv[1]))
    given = {name: tensor.double() for name, tensor in load_file(request["weight"]).items()}
    save_file({"rounded": rounded(given["weight"], given["x"], request["groups"]).float()}, request["out"])
