/** @file A base model on disk, opened: the same shape whether it came as a Hugging Face folder or as a GGUF file. */

/** config.json of a Hugging Face folder; for a GGUF file, built from its metadata under the same keys. */
export type HfConfig = Readonly<Record<string, unknown>>;

/** Weights by their Hugging Face names, in Hugging Face's layout ([out, in] for linears). */
export interface WeightSource {
  readonly names: readonly string[];
  /** Shape and type as stored (for example 'F32', 'BF16', 'Q4_1'). */
  info(name: string): { readonly shape: readonly number[]; readonly storage: string };
  /** Dequantised or widened to float32, row-major. */
  read(name: string): Promise<Float32Array>;
}

/** Turns text into token ids and back. */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  /** What it puts before a text by itself: the bos token of Llama, Mistral and Gemma, which read badly without it. */
  readonly startIds: readonly number[];
  /** Special (control) tokens by id. */
  readonly special: ReadonlyMap<number, string>;
  /** Those of them, as Phi-3's, that take the white space before or after them away: it becomes no token. */
  readonly swallowing: ReadonlyMap<number, { readonly before: boolean; readonly after: boolean }>;
  /** `parseSpecial`: special tokens written in the text become their ids (templates need it; people's text must not). Adds no bos or eos: `startIds` is for where a text begins. */
  encode(text: string, options?: { readonly parseSpecial?: boolean }): number[];
  decode(ids: readonly number[], options?: { readonly skipSpecial?: boolean }): string;
  /** The text of one token, special tokens included, for display. */
  piece(id: number): string;
  /** tokenizer.json of Hugging Face's tokenizers library, for exports. */
  toJson(): unknown;
}

/** A call of a tool by the model: its name and what it is given. */
export interface ToolCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
  /** Calls that a template writes in its own form; only where it takes tools. */
  readonly calls?: readonly ToolCall[];
}

/** A tool as OpenAI's API has it, which is what templates expect: {type: 'function', function: {name, description, parameters}}. */
export type ToolDefinition = Readonly<Record<string, unknown>>;

export interface RenderOptions {
  readonly addGenerationPrompt?: boolean;
  /** Tools that the model may call; a template that takes none leaves them out without a word. */
  readonly tools?: readonly ToolDefinition[];
}

/** The model's own chat template (Jinja), run in a sandboxed interpreter. */
export interface ChatTemplate {
  readonly source: string;
  /** Whether it has a place for tools, and writes calls of them and what they gave back. */
  readonly takesTools: boolean;
  /** Whether a system message comes through. */
  readonly takesSystem: boolean;
  /** Throws TEMPLATE_FAILED with the template's own words. */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

/** How text is cut into tokens, a conversation put into text, and an answer ended. */
export type TextFiles = Pick<ModelFiles, 'tokenizer' | 'chatTemplate' | 'stopIds'>;

export interface ModelFiles {
  readonly format: 'huggingface' | 'gguf';
  readonly config: HfConfig;
  readonly weights: WeightSource;
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate | null;
  /** Ids that end an answer: from generation_config, config, tokenizer, GGUF metadata. */
  readonly stopIds: readonly number[];
  /** Licence as the files state it, an SPDX name where they do. */
  readonly license: string | null;
  /** Name as the files state it. */
  readonly name: string | null;
  /** Bytes of the weights as stored. */
  readonly bytes: number;
  /** Base or instruct, with what it was recognised by. */
  readonly kind: { readonly value: 'base' | 'instruct'; readonly evidence: readonly string[] };
  close(): Promise<void>;
}
