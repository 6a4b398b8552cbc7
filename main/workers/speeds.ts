/** @file Child process: how fast this machine multiplies in each precision. */
import { measureSpeeds, type Speeds } from '../engine/quantise/kernels.ts';
import { runChild } from './child.ts';

runChild<{ readonly threads: number }, never, Speeds>((job) => measureSpeeds(job));
