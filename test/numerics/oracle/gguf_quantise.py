"""Writes a GGUF file with numbers and what the gguf package quantises them to.

usage: python gguf_quantise.py OUT.gguf

Tensor "numbers" [8, 512] in F32: normal, heavy-tailed, tiny, huge, constant, zero, ties and one-sided rows; for each type X that
the package quantises, a tensor "X" of the same shape.
"""

import sys

import gguf
import numpy

TYPES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
random = numpy.random.default_rng(11)


def numbers():
    rows = numpy.stack(
        [
            random.normal(size=512),
            random.standard_cauchy(size=512),
            random.normal(size=512) * 1e-7,
            random.normal(size=512) * 1e3,
            numpy.full(512, 0.3),
            numpy.zeros(512),
            random.integers(-8, 8, size=512) / 2,
            numpy.abs(random.normal(size=512)) + 5,
        ]
    )
    return rows.astype(numpy.float32)


if __name__ == "__main__":
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    values = numbers()
    writer.add_tensor("numbers", values)
    with numpy.errstate(all="ignore"):
        for name in TYPES:
            kind = gguf.GGMLQuantizationType[name]
            writer.add_tensor(name, gguf.quants.quantize(values, kind).view(numpy.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
