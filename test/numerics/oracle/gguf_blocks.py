"""Writes a GGUF file with random blocks of every type that Fettle reads, and what the gguf package widens them to.

usage: python gguf_blocks.py OUT.gguf

For each type X a tensor "X" [2, 512] and a tensor "X.widened" of the same shape in F32; metadata of every kind of value.
"""

import sys

import gguf
import numpy

TYPES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
# Byte places of the float16 scales in a block: random bytes there would make infinities.
SCALES = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
ROWS, WIDTH = 2, 512
random = numpy.random.default_rng(7)


def blocks(name):
    if name in ("F16", "BF16"):
        values = random.normal(size=(ROWS, WIDTH)).astype(numpy.float32)
        return gguf.quants.quantize(values, gguf.GGMLQuantizationType[name]).view(numpy.uint8)
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    raw = random.integers(0, 256, size=(ROWS * WIDTH // elements, size), dtype=numpy.uint8)
    for place in SCALES[name]:
        scales = (random.normal(size=len(raw)) * 10.0 ** random.integers(-6, 2, size=len(raw))).astype(numpy.float16)
        raw[:, place : place + 2] = scales[:, None].view(numpy.uint8)
    return raw.reshape(ROWS, -1)


if __name__ == "__main__":
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    writer.add_uint8("test.uint8", 255)
    writer.add_int8("test.int8", -128)
    writer.add_uint16("test.uint16", 65535)
    writer.add_int16("test.int16", -32768)
    writer.add_uint32("test.uint32", 4294967295)
    writer.add_int32("test.int32", -2147483648)
    writer.add_float32("test.float32", 0.5)
    writer.add_uint64("test.uint64", 2**53 - 1)
    writer.add_int64("test.int64", -(2**53) + 1)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "Grüße 🙂")
    writer.add_array("test.strings", ["a", "", "ü"])
    writer.add_array("test.numbers", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -0.25])
    writer.add_array("test.lists", [[1, 2], [3]])
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        raw = blocks(name)
        writer.add_tensor(name, raw, raw_dtype=kind)
        writer.add_tensor(f"{name}.widened", gguf.quants.dequantize(raw, kind).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
