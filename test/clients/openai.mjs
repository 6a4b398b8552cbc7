/** @file Asks the local address with OpenAI's own client, and prints what it understood: node openai.mjs ADDRESS TOKEN MODEL */
import OpenAI from 'openai';

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: 'user', content: 'Ana writes that the lamp leaks.' }];

const models = (await client.models.list()).data.map(({ id }) => id);
const whole = await client.chat.completions.create({ model, messages, max_tokens: 8, seed: 3, temperature: 0.7 });
let streamed = '';
let finish = null;
let usage = null;
for await (const chunk of await client.chat.completions.create({
  model,
  messages,
  max_tokens: 8,
  seed: 3,
  temperature: 0.7,
  stream: true,
  stream_options: { include_usage: true },
})) {
  streamed += chunk.choices[0]?.delta.content ?? '';
  finish = chunk.choices[0]?.finish_reason ?? finish;
  usage = chunk.usage ?? usage;
}
const text = await client.completions.create({ model, prompt: 'The lamp', max_tokens: 4 });
let streamedText = '';
for await (const chunk of await client.completions.create({ model, prompt: 'The lamp', max_tokens: 4, stream: true }))
  streamedText += chunk.choices[0]?.text ?? '';
const missing = await client.chat.completions.create({ model: 'none', messages }).catch((error) => error);
const wrongKey = await new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 }).models.list().catch((error) => error);

process.stdout.write(
  JSON.stringify({
    models,
    whole: { text: whole.choices[0].message.content, finish: whole.choices[0].finish_reason, usage: whole.usage },
    streamed: { text: streamed, finish, usage },
    text: text.choices[0].text,
    streamedText,
    missing: { name: missing.constructor.name, status: missing.status, code: missing.code, param: missing.param },
    wrongKey: { name: wrongKey.constructor.name, status: wrongKey.status, code: wrongKey.code },
  }),
);
