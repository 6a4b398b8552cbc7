/** @file The training engine's front door: models and what is trained on them. Examples and the loop are in train/, answers in generate/, graphs for others in export/. */
export { readSpec } from './architectures/index.ts';
export { modulesOf } from './architectures/spec.ts';
export { fitAdapter } from './model/fit.ts';
export { BaseModel, loadBase, measureRounding, saveable } from './model/model.ts';
export { TunedModel } from './model/tuned.ts';
export { checkWeights } from './model/weights.ts';
export { Prepared, type PreparedAt } from './quantise/prepared.ts';
export { Random } from './random.ts';
