/** @file The training engine: what others may use of it. */
export { readSpec } from './architectures/index.ts';
export { modulesOf } from './architectures/spec.ts';
export { BaseModel, loadBase, TunedModel } from './model/model.ts';
export { checkWeights } from './model/weights.ts';
export { parameter } from './model/parameters.ts';
export { Random } from './random.ts';
