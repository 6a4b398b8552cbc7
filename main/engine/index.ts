/** @file The training engine: what others may use of it. */
export { readSpec } from './architectures/index.ts';
export { modulesOf } from './architectures/spec.ts';
export { fitAdapter } from './model/fit.ts';
export { BaseModel, loadBase, measureRounding, saveable } from './model/model.ts';
export { TunedModel } from './model/tuned.ts';
export { checkWeights } from './model/weights.ts';
export { Prepared, type PreparedAt } from './quantise/prepared.ts';
export { Random } from './random.ts';
