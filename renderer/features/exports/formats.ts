/** @file The formats of an export and the types of numbers: what each is for. How other programs run them stands in contract/clients.ts. */
import type { ExportFormat, ExportType } from '../../../main/contract/entities.ts';

export const FORMATS: Readonly<
  Record<ExportFormat, { readonly name: string; readonly term: string; readonly note: string }>
> = {
  gguf: {
    name: 'One file',
    term: 'GGUF',
    note: 'The whole model, for llama.cpp, LM Studio and everything built on them.',
  },
  ollama: {
    name: 'Ollama folder',
    term: 'GGUF, Modelfile',
    note: 'The same file with what Ollama needs to talk to it: form, system message, stops.',
  },
  safetensors: {
    name: 'Merged folder',
    term: 'safetensors',
    note: 'The whole model, for transformers and vLLM, and for training on.',
  },
  adapter: {
    name: 'Adapter only',
    term: 'PEFT',
    note: 'The addition without the base: small, for whoever has the base model.',
  },
  'gguf-adapter': {
    name: 'Adapter in one file',
    term: 'GGUF, LoRA',
    note: 'The addition for llama.cpp, put on the base’s own GGUF as it is loaded.',
  },
  onnx: {
    name: 'For the browser and apps',
    term: 'ONNX',
    note: 'The whole model, for transformers.js in a web page or Node, and for onnxruntime-genai.',
  },
};

export const TYPES: Readonly<Record<ExportType, string>> = {
  f32: '32 bits, exact',
  f16: '16 bits (f16)',
  bf16: '16 bits (bf16)',
  q8_0: '8 bits (q8_0)',
  q6_k: '6 bits (q6_k)',
  q5_k_m: '5 bits (q5_k_m)',
  q5_1: '5 bits (q5_1)',
  q5_0: '5 bits (q5_0)',
  q4_k_m: '4 bits (q4_k_m)',
  q4_1: '4 bits (q4_1)',
  q4_0: '4 bits (q4_0)',
  q8: '8 bits (q8)',
  q4: '4 bits (q4)',
};
