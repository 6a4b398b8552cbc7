/** @file How other programs load an export: one table, for the workbench and for the README that travels with the files. */
import type { ExportFormat, HowTo } from './entities.ts';
import { ggufNameOf } from './export-types.ts';

/** What the commands depend on. */
export interface Handed {
  readonly format: ExportFormat;
  /** Names of the files, relative to the export's folder. */
  readonly files: readonly string[];
  readonly base: {
    readonly name: string;
    /** Of its one file of weights; where they lie in several, Fettle's own over all of them. */
    readonly hash: string;
    readonly severalFiles?: boolean;
    /** llama.cpp reads it as it is. */
    readonly gguf?: boolean;
  };
  /** The stage that an adapter stands on, where it holds its own part only: it must be merged first. */
  readonly over?: { readonly run: string; readonly checkpoint: string };
  /** Of the adapter. */
  readonly rank: number;
  /** Weight-decomposed, or with modules that were trained in whole. */
  readonly moreThanLora?: boolean;
  /** It answers in conversations; otherwise it goes on with a text. */
  readonly converses: boolean;
}

/** @param at the export's folder: a whole path, or '.' for a person who stands in it. */
export function howToRun(handed: Handed, at: string): HowTo[] {
  const { format, files, base, over, rank, moreThanLora, converses } = handed;
  const gguf = files.find((name) => name.endsWith('.gguf')) ?? 'model.gguf';
  const name = gguf.replace(/\.gguf$/, '');
  const folder = shell(at);
  const file = shell(at === '.' ? gguf : `${at}/${gguf}`);
  const script = JSON.stringify(at === '.' ? gguf : `${at}/${gguf}`);
  // One stage alone does not fit the plain base, whose hash would mislead.
  const baseName = over ? mergedFolder(over, format) : base.name;
  const ggufBase = over ? `${baseName}/${mergedGguf(over.run)}` : `${baseName}.gguf`;
  const own = files.some((each) => each.startsWith('base/'));
  // A base without a form of conversation: the adapter brings one, with the tokenizer.
  const words = files.includes('tokenizer.json') ? at : own ? (at === '.' ? 'base' : `${at}/base`) : baseName;
  const basePath = own ? (at === '.' ? 'base' : `${at}/base`) : baseName;
  const needs = own ? [] : baseNeeded(handed);
  const talk = converses ? '-cnv' : "-no-cnv -n 200 -p 'Once upon a time'";
  switch (format) {
    case 'adapter':
      return [
        {
          client: 'transformers',
          lines: [
            peft({ folder: at, base: basePath, words }, needs, converses),
            ...(moreThanLora ? NOT_IN_VLLM : []),
          ].join('\n'),
        },
        ...(moreThanLora
          ? []
          : [
              {
                client: 'vLLM',
                lines: [
                  ...needs,
                  `vllm serve ${shell(basePath)} --enable-lora --max-lora-rank ${vllmRank(rank)} --lora-modules tuned=${folder}`,
                  ask(8000, 'tuned', converses),
                ].join('\n'),
              },
            ]),
      ];
    case 'gguf-adapter':
      return [
        {
          client: 'llama.cpp',
          lines: [
            ...needs,
            `llama-cli -m ${shell(ggufBase)} --lora ${file} ${talk}`,
            `llama-server -m ${shell(ggufBase)} --lora ${file} --port 8080`,
          ].join('\n'),
        },
        // Ollama takes no adapters (since September 2026): the Ollama folder is for it.
        { client: 'Node', lines: node(JSON.stringify(ggufBase), converses, script) },
      ];
    case 'safetensors':
      return [
        { client: 'transformers', lines: transformers(JSON.stringify(at), converses) },
        { client: 'vLLM', lines: [`vllm serve ${folder}`, ask(8000, at, converses)].join('\n') },
      ];
    case 'gguf':
      return [
        {
          client: 'llama.cpp',
          lines: [
            `llama-cli -m ${file} ${talk}`,
            `llama-server -m ${file} --port 8080`,
            ask(8080, name, converses),
          ].join('\n'),
        },
        { client: 'LM Studio', lines: `lms import ${file}` },
        // For Ollama there is a folder of its own, with the template and the stops that it would guess at here.
        { client: 'Node', lines: node(script, converses) },
      ];
    case 'onnx':
      return [
        { client: 'transformers.js', lines: transformersJs(at, converses) },
        { client: 'onnxruntime-genai', lines: genai(JSON.stringify(at), converses) },
      ];
    case 'ollama':
      return [
        {
          client: 'Ollama',
          lines: [
            ...(at === '.' ? [] : [`cd ${folder}`]),
            `ollama create ${name} -f Modelfile`,
            `ollama run ${name}`,
          ].join('\n'),
        },
        { client: 'llama.cpp', lines: `llama-cli -m ${file} ${talk}` },
        { client: 'LM Studio', lines: `lms import ${file}` },
      ];
  }
}

/** What an adapter must be put on, in comments above the commands. */
function baseNeeded({ format, base, over }: Handed): string[] {
  const gguf = format === 'gguf-adapter';
  if (over)
    return [
      `# the base: ${over.run}, ${over.checkpoint}, merged into its own base; the plain base does not fit`,
      `# fettle export ${over.run} --checkpoint ${over.checkpoint} --format ${gguf ? 'gguf --quant f32' : 'safetensors'} --out ${shell(mergedFolder(over, format))}`,
    ];
  const name = base.name.replaceAll(/\s+/g, ' ');
  const hash = base.severalFiles ? `Fettle’s hash of its files ${base.hash}` : `SHA-256 ${base.hash}`;
  return gguf && !base.gguf
    ? [
        `# the base: ${name}, a folder of safetensors (${hash}); make a GGUF of it first, with llama.cpp’s own script`,
        `# python convert_hf_to_gguf.py FOLDER --outtype f32 --outfile ${shell(`${base.name}.gguf`)}`,
      ]
    : [`# the base: ${name}, ${hash}`];
}

/** Where the stages before are told to be put. */
const mergedFolder = ({ run, checkpoint }: NonNullable<Handed['over']>, format: ExportFormat): string =>
  `${run}-${checkpoint}-merged${format === 'gguf-adapter' ? '-gguf' : ''}`;
/** As an export of that run is named, by its title: "shop-1" is "shop, run 1". */
const mergedGguf = (run: string): string => ggufNameOf(run.replace(/-(\d+)$/, ' run $1'), 'f32');

const NOT_IN_VLLM = [
  '',
  '# vLLM takes no adapter that is weight-decomposed (DoRA) or holds modules trained in whole:',
  '# for it, export the merged folder (--format safetensors).',
];

const LANGUAGES: Readonly<Record<string, string>> = {
  transformers: 'python',
  'onnxruntime-genai': 'python',
  Node: 'js',
  'transformers.js': 'js',
};

/** The README's part about it. */
export const howToInMarkdown = (handed: Handed): string[] =>
  howToRun(handed, '.').flatMap(({ client, lines }) => [
    `### ${client}`,
    '',
    `\`\`\`${LANGUAGES[client] ?? 'sh'}`,
    lines,
    '```',
    '',
  ]);

/** As a POSIX shell takes it for one word, whatever stands in it. */
const shell = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** vLLM knows these ranks. */
const vllmRank = (rank: number): number => [8, 16, 32, 64, 128, 256, 320, 512].find((each) => each >= rank) ?? rank;

function ask(port: number, model: string, converses: boolean): string {
  const [path, question] = converses
    ? ['chat/completions', { model, messages: [{ role: 'user', content: 'Hello' }] }]
    : ['completions', { model, prompt: 'Once upon a time' }];
  return [
    '# and, while that runs, from another terminal',
    `curl http://127.0.0.1:${port}/v1/${path} -H 'Content-Type: application/json' -d ${shell(JSON.stringify(question))}`,
  ].join('\n');
}

const generation = (converses: boolean): string[] => [
  converses
    ? 'inputs = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], add_generation_prompt=True, return_dict=True, return_tensors="pt")'
    : 'inputs = tokenizer("Once upon a time", return_tensors="pt")',
  'ids = model.generate(**inputs, max_new_tokens=200, do_sample=False)[0]',
  'print(tokenizer.decode(ids[inputs["input_ids"].shape[1]:], skip_special_tokens=True))',
];

const transformers = (folder: string, converses: boolean): string =>
  [
    'from transformers import AutoModelForCausalLM, AutoTokenizer',
    '',
    `tokenizer = AutoTokenizer.from_pretrained(${folder})`,
    `model = AutoModelForCausalLM.from_pretrained(${folder})`,
    ...generation(converses),
  ].join('\n');

const peft = (
  { folder, base, words }: { readonly folder: string; readonly base: string; readonly words: string },
  needs: readonly string[],
  converses: boolean,
): string =>
  [
    'from peft import PeftModel',
    'from transformers import AutoModelForCausalLM, AutoTokenizer',
    '',
    ...needs,
    `tokenizer = AutoTokenizer.from_pretrained(${JSON.stringify(words)})`,
    `model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(${JSON.stringify(base)}), ${JSON.stringify(folder)})`,
    ...generation(converses),
  ].join('\n');

const transformersJs = (folder: string, converses: boolean): string =>
  [
    "import { env, pipeline } from '@huggingface/transformers';",
    '',
    'env.allowRemoteModels = false;',
    `const generate = await pipeline('text-generation', ${JSON.stringify(folder)});`,
    converses
      ? "console.log(await generate([{ role: 'user', content: 'Hello' }], { max_new_tokens: 200 }));"
      : "console.log(await generate('Once upon a time', { max_new_tokens: 200 }));",
  ].join('\n');

const genai = (folder: string, converses: boolean): string =>
  [
    'import onnxruntime_genai as og',
    '',
    `model = og.Model(${folder})`,
    'tokenizer = og.Tokenizer(model)',
    'params = og.GeneratorParams(model)',
    'params.set_search_options(max_length=500)',
    'generator = og.Generator(model, params)',
    converses
      ? `text = tokenizer.apply_chat_template('[{"role": "user", "content": "Hello"}]', add_generation_prompt=True)`
      : 'text = "Once upon a time"',
    'generator.append_tokens(tokenizer.encode(text))',
    'while not generator.is_done():',
    '    generator.generate_next_token()',
    'print(tokenizer.decode(generator.get_sequence(0)))',
  ].join('\n');

const node = (model: string, converses: boolean, lora?: string): string =>
  [
    `import { getLlama, ${converses ? 'LlamaChatSession' : 'LlamaCompletion'} } from 'node-llama-cpp';`,
    '',
    'const llama = await getLlama();',
    `const model = await llama.loadModel({ modelPath: ${model} });`,
    // They spin while they wait for each other: more than there are cores to spare make it a hundred times slower.
    'const threads = Math.max(1, llama.cpuMathCores - 1);',
    `const context = await model.createContext({ threads${lora === undefined ? '' : `, lora: ${lora}`} });`,
    ...(converses
      ? [
          "const session = new LlamaChatSession({ contextSequence: context.getSequence(), systemPrompt: '' });",
          "console.log(await session.prompt('Hello', { maxTokens: 200 }));",
        ]
      : [
          'const completion = new LlamaCompletion({ contextSequence: context.getSequence() });',
          "console.log(await completion.generateCompletion('Once upon a time', { maxTokens: 200 }));",
        ]),
  ].join('\n');
