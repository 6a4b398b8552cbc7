/** @file What the proof finds where exported files cut, frame or end text otherwise than the run, whatever their weights. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../test/fixtures/tiny-model.ts';
import { chatTemplate } from '../formats/chat-template.ts';
import { writeModelGguf } from '../formats/gguf/export.ts';
import { readTextFiles } from '../formats/huggingface/read.ts';
import { writeModelFolder } from '../formats/huggingface/write.ts';
import type { ModelFiles } from '../formats/model.ts';
import { openModel } from '../formats/open.ts';
import { tokenizerFromJson } from '../formats/tokenizer.ts';
import { proveText } from './text-proof.ts';

type Json = Record<string, unknown>;
const folder = mkdtempSync(join(tmpdir(), 'fettle-text-proof-'));
let run: ModelFiles;
let asked: number[][];

beforeAll(async () => {
  run = await openModel(await writeTinyModel(join(folder, 'tiny')));
  asked = ['Why does it squeak?', '<|im_start|>user\nOil it.<|im_end|>\n', 'Grüße, 你好'].map((text) =>
    run.tokenizer.encode(text, { parseSpecial: true }),
  );
});
afterAll(async () => {
  await run.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('text', () => {
  let made = 0;
  /** The run's folder, with one of its files changed. */
  async function faultsOf(file?: string, change: (was: Json) => void = () => undefined): Promise<string[]> {
    const path = join(folder, `made-${made++}`);
    await writeModelFolder(path, run, { dtype: 'f32' });
    if (file !== undefined) {
      const was = JSON.parse(readFileSync(join(path, file), 'utf8')) as Json;
      change(was);
      writeFileSync(join(path, file), JSON.stringify(was));
    }
    return proveText(run, await readTextFiles(path), asked).faults;
  }

  it('is the same in what is written of it, as a folder, as GGUF and beside an adapter', async () => {
    expect(await faultsOf()).toEqual([]);
    const gguf = join(folder, 'made.gguf');
    await writeModelGguf(gguf, run, 'f32', { name: 'tiny', license: null });
    const files = await openModel(gguf);
    await files.close();
    expect(proveText(run, files, asked).faults).toEqual([]);
    // A run on that GGUF goes back into a folder.
    const back = join(folder, 'back');
    await writeModelFolder(back, { ...files, weights: run.weights, config: run.config }, { dtype: 'f32' });
    expect(proveText(files, await readTextFiles(back), asked)).toMatchObject({ faults: [] });
  });

  describe('whose control tokens swallow the white space after them', () => {
    /** Tokens that llama.cpp wants to see of a Phi-3. */
    const MORE = ['<unk>', '<s>', '</s>'];
    let wide: ModelFiles;
    beforeAll(async () => {
      wide = await openModel(await writeTinyModel(join(folder, 'wide'), { sizes: { vocab: 259 + MORE.length } }));
    });
    afterAll(() => wide.close());

    /** The model with a tokenizer of which these do, written as GGUF under a name. */
    async function faultsAsGguf(swallowing: readonly string[], name: string, more = MORE): Promise<string[]> {
      const { added_tokens: added, ...json } = wide.tokenizer.toJson() as { added_tokens: { content: string }[] };
      const all = [...added, ...more.map((content, i) => ({ ...added[0]!, id: 259 + i, content }))];
      const tokens = all.map((token) => ({ ...token, rstrip: swallowing.includes(token.content) }));
      const files = { ...wide, tokenizer: tokenizerFromJson({ ...json, added_tokens: tokens }) };
      const path = join(folder, `made-${made++}.gguf`);
      await writeModelGguf(path, files, 'f32', { name, license: null });
      const read = await openModel(path);
      await read.close();
      const texts = asked.map((ids) => files.tokenizer.encode(run.tokenizer.decode(ids), { parseSpecial: true }));
      return proveText(files, read, texts).faults;
    }
    const AS_PHI3 = ['<|im_start|>', '<|im_end|>', '</s>'];

    it('is the same where all of them do as Phi-3’s, whatever the project is called', async () => {
      expect(await faultsAsGguf(AS_PHI3, 'shop, run 1')).toEqual([]);
      expect(await faultsAsGguf(AS_PHI3, 'phi-3, run 1')).toEqual([]);
      // llama.cpp goes by the name.
      expect(await faultsAsGguf([], 'phi3, run 1')).toEqual([]);
    });

    it('is refused in one sentence where GGUF cannot say it, and only where a conversation has other tokens by it', async () => {
      await expect(faultsAsGguf(['<|im_end|>'], 'shop, run 1')).rejects.toMatchObject({
        code: 'EXPORT_UNSUPPORTED',
        message: expect.stringContaining('<|im_end|> swallow the white space') as string,
      });
      // As Phi-3's, but no file that llama.cpp would load under its name.
      await expect(faultsAsGguf(AS_PHI3, 'shop, run 1', [])).rejects.toMatchObject({ code: 'EXPORT_UNSUPPORTED' });
      expect(await faultsAsGguf(['<|endoftext|>'], 'shop, run 1')).toEqual([]);
    });
  });

  it('that is cut by another tokenizer is found', async () => {
    const faults = await faultsOf('tokenizer.json', (was) => {
      const { vocab } = was['model'] as { vocab: Record<string, number> };
      [vocab['i'], vocab['o']] = [vocab['o']!, vocab['i']!];
    });
    expect(faults).toEqual([
      expect.stringMatching(/^\d+ of \d+ texts are cut into other tokens$/),
      expect.stringMatching(/^the tokens of \d of 3 texts are read as other words$/),
    ]);
  });

  it('that begins otherwise, or whose control tokens are plain text, is found', async () => {
    const plain = await faultsOf('tokenizer.json', (was) => (was['added_tokens'] = []));
    expect(plain.join()).toContain('cut into other tokens');
  });

  it('of a conversation in another form is found, and one that has no form', async () => {
    const other = await faultsOf('tokenizer_config.json', (was) => {
      was['chat_template'] = String(was['chat_template']).replace("'<|im_end|>' + '\\n'", "'<|im_end|>'");
    });
    expect(other).toEqual(['20 of 20 conversations take another form']);
    expect(await faultsOf('tokenizer_config.json', (was) => delete was['chat_template'])).toContain(
      'the chat template is missing',
    );
    const { chatTemplate: _, ...text } = run;
    expect(proveText({ ...text, chatTemplate: null }, run, asked).faults).toEqual([
      'they hold a chat template of their own',
    ]);
  });

  it('whose answers end elsewhere is found', async () => {
    const [end] = run.stopIds;
    expect(proveText(run, { ...run, stopIds: [] }, asked).faults[0]).toContain('an answer does not end at token');
    expect(await faultsOf('generation_config.json', (was) => (was['eos_token_id'] = [65, end]))).toContain(
      'an answer ends at token 65',
    );
  });

  it('that both templates refuse is alike', () => {
    const source = "{{ raise_exception('no system messages') }}";
    const refusing = chatTemplate(source, { bosToken: null, eosToken: null });
    const files = { ...run, chatTemplate: refusing };
    expect(proveText(files, { ...files }, asked).faults).toEqual([]);
  });
});
