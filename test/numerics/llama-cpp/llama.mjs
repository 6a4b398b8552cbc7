/** @file llama.cpp as the oracles use it: never built, never on a GPU, and with two threads (with its own choice it spins). */
import { getLlama } from 'node-llama-cpp';

export const llama = await getLlama({ build: 'never', gpu: false, logLevel: 'fatal', maxThreads: 2 });
