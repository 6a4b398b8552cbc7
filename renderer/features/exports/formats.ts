/** @file The formats of an export: what each is for, and how to load it. */
import type { Export, ExportFormat } from '../../../main/contract/entities.ts';

export const FORMATS: Readonly<
  Record<ExportFormat, { readonly name: string; readonly term: string; readonly note: string }>
> = {
  adapter: {
    name: 'Adapter only',
    term: 'PEFT',
    note: 'The addition without the base: small, for whoever has the base model.',
  },
  safetensors: {
    name: 'Merged folder',
    term: 'safetensors',
    note: 'The whole model with what it learned, for transformers and vLLM.',
  },
};
export const DTYPES: readonly { readonly value: Export['dtype']; readonly label: string }[] = [
  { value: 'f32', label: '32 bits, exact' },
  { value: 'bf16', label: '16 bits (bf16)' },
  { value: 'f16', label: '16 bits (f16)' },
];

/** Lines of Python that load an export; `folder` is shown as the person has it. */
export function howTo(made: Pick<Export, 'format' | 'folder'>): string {
  const at = JSON.stringify(made.folder);
  return made.format === 'adapter'
    ? `from peft import AutoPeftModelForCausalLM\nmodel = AutoPeftModelForCausalLM.from_pretrained(${at})`
    : `from transformers import AutoModelForCausalLM, AutoTokenizer\nmodel = AutoModelForCausalLM.from_pretrained(${at})\ntokenizer = AutoTokenizer.from_pretrained(${at})`;
}
