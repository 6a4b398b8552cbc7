/** @file The formats of an export: what each is for, and how other programs run it. */
import type { Export, ExportFormat, ExportType } from '../../../main/contract/entities.ts';

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

export interface Recipe {
  readonly client: string;
  readonly lines: string;
}

/** What to type in each program; the folder and file are shown as the person has them. */
export function howTo({ format, folder, files }: Pick<Export, 'format' | 'folder' | 'files'>): Recipe[] {
  const at = JSON.stringify(folder);
  const gguf = files.find(({ name }) => name.endsWith('.gguf'))?.name ?? 'model.gguf';
  const file = JSON.stringify(`${folder}/${gguf}`);
  const name = gguf.replace(/\.gguf$/, '');
  switch (format) {
    case 'adapter':
      return [
        {
          client: 'peft',
          lines: `from peft import AutoPeftModelForCausalLM\nmodel = AutoPeftModelForCausalLM.from_pretrained(${at})`,
        },
        { client: 'vLLM', lines: `vllm serve BASE_MODEL --enable-lora --lora-modules mine=${at}` },
      ];
    case 'safetensors':
      return [
        {
          client: 'transformers',
          lines: `from transformers import AutoModelForCausalLM, AutoTokenizer\nmodel = AutoModelForCausalLM.from_pretrained(${at})\ntokenizer = AutoTokenizer.from_pretrained(${at})`,
        },
        { client: 'vLLM', lines: `vllm serve ${at}` },
      ];
    case 'gguf':
      return [
        { client: 'llama.cpp', lines: `llama-cli -m ${file}\nllama-server -m ${file} --port 8080` },
        { client: 'LM Studio', lines: `lms import ${file}` },
        { client: 'Ollama', lines: `echo 'FROM ${folder}/${gguf}' > Modelfile\nollama create ${name} -f Modelfile` },
        {
          client: 'Node',
          lines: `import { getLlama, LlamaChatSession } from 'node-llama-cpp';\nconst model = await (await getLlama()).loadModel({ modelPath: ${file} });\nconst context = await model.createContext();\nconst session = new LlamaChatSession({ contextSequence: context.getSequence() });\nconsole.log(await session.prompt('Hello'));`,
        },
      ];
    case 'onnx':
      return [
        {
          client: 'transformers.js',
          lines: `import { env, pipeline } from '@huggingface/transformers';\nenv.allowRemoteModels = false;\nconst ask = await pipeline('text-generation', ${at});\nconsole.log(await ask([{ role: 'user', content: 'Hello' }], { max_new_tokens: 200 }));`,
        },
        {
          client: 'onnxruntime-genai',
          lines: `import onnxruntime_genai as og\nmodel = og.Model(${at})\ntokenizer = og.Tokenizer(model)\nparams = og.GeneratorParams(model)\nparams.set_search_options(max_length=500)\ngenerator = og.Generator(model, params)\ngenerator.append_tokens(tokenizer.encode(tokenizer.apply_chat_template('[{"role": "user", "content": "Hello"}]', add_generation_prompt=True)))\nwhile not generator.is_done():\n    generator.generate_next_token()\nprint(tokenizer.decode(generator.get_sequence(0)))`,
        },
      ];
    case 'ollama':
      return [{ client: 'Ollama', lines: `cd ${at}\nollama create ${name} -f Modelfile\nollama run ${name}` }];
  }
}
