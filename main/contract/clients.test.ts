/** @file What other programs are told to load: the base that an adapter fits, and nothing that they refuse. */
import { describe, expect, it } from 'vitest';
import { howToRun, type Handed } from './clients.ts';

const adapter: Handed = {
  format: 'adapter',
  files: ['adapter_model.safetensors'],
  base: { name: 'tiny', hash: 'abc' },
  rank: 4,
  converses: true,
};
const gguf: Handed = { ...adapter, format: 'gguf-adapter', files: ['a-adapter-f16.gguf'] };
const over = { run: 'shop-1', checkpoint: 'step-6' };
const told = (handed: Handed): string =>
  howToRun(handed, '.')
    .map(({ client, lines }) => `${client}\n${lines}`)
    .join('\n');

describe('an adapter', () => {
  it('stands on the base that is named by its hash', () => {
    expect(told(adapter)).toContain('# the base: tiny, SHA-256 abc');
    expect(told({ ...adapter, base: { ...adapter.base, severalFiles: true } })).toContain(
      '# the base: tiny, Fettle’s hash of its files abc',
    );
  });

  it('of one stage alone stands on the stages before, merged', () => {
    for (const handed of [adapter, gguf]) {
      const text = told({ ...handed, over });
      expect(text).toContain('fettle export shop-1 --checkpoint step-6');
      expect(text).toContain('shop-1-step-6-merged');
      expect(text).not.toMatch(/abc|tiny/);
    }
    // Its base lies beside it.
    const own = told({ ...adapter, over, files: [...adapter.files, 'base/model.safetensors'] });
    expect(own).toContain('from_pretrained("base")');
    expect(own).not.toContain('fettle export');
  });

  it('that is more than LoRA is not for vLLM', () => {
    const clients = howToRun({ ...adapter, moreThanLora: true }, '.');
    expect(clients.map(({ client }) => client)).toEqual(['transformers']);
    expect(clients[0]!.lines).toContain('export the merged folder');
  });

  it('as GGUF wants a GGUF, which is to be made where the base came as a folder', () => {
    expect(told(gguf)).toContain('convert_hf_to_gguf.py');
    const lies = told({ ...gguf, base: { ...gguf.base, gguf: true } });
    expect(lies).toContain('# the base: tiny, SHA-256 abc');
    expect(lies).not.toContain('convert_hf_to_gguf.py');
  });
});
