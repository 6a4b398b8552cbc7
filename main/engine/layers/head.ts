/** @file The two ends of a model: the embedding, and the head: final norm, logits, and cross-entropy with its own way back, on the rows that carry a label. */
import type { Precision } from '../../contract/recipe.ts';
import { withVjp } from '../autodiff/gradient.ts';
import { columnPeaks, log, mul, pick, reshape, rmsNorm, rows, softmax, sub } from '../graph/ops/index.ts';
import type { Scope, Value } from '../graph/value.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { frozenGradient, frozenInput, frozenRows } from './frozen.ts';

/** Name of the head's weight [vocab, hidden] as an input of a segment. */
export const HEAD = 'head';

/** 4 bits are too few for the head, which has the last word. */
const headPrecision = (precision: Precision): Exclude<Precision, 'int4'> => (precision === 'int4' ? 'int8' : precision);

/** Rows [n, hidden] of the embedding for ids int64 [n]; in int4 in 8 bits, which a tied head has already. */
export function embedding(scope: Scope, spec: ModelSpec, ids: Value, precision: Precision): Value {
  const shape = [spec.vocab, spec.hidden] as const;
  if (precision !== 'int4') return rows(scope.input('embedding', shape), ids);
  return frozenRows('int8', spec.names.head === spec.names.embedding ? HEAD : 'embedding', ids, shape);
}

/** Logits [n, vocab] of x [n, hidden]. Inputs it declares: finalNorm [hidden], and the head's weight. */
export const logits = (scope: Scope, spec: ModelSpec, x: Value, precision: Precision): Value =>
  frozenInput(headPrecision(precision), HEAD, normed(scope, spec, x)).product(HEAD, spec.vocab);

/**
 * Negative log likelihood [n, 1] of labels int64 [n, 1], in nats. With p = softmax(h E'), its gradient for a frozen E
 * is (p E - E[label]) dy: no one-hot matrix is needed.
 */
export function crossEntropy(scope: Scope, spec: ModelSpec, x: Value, labels: Value, precision: Precision): Value {
  const kept = headPrecision(precision);
  const { x: h, product } = frozenInput(kept, HEAD, normed(scope, spec, x));
  // One softmax for the loss and its way back; a logarithm of each whole row would be a pass more over all logits.
  const p = softmax(product(HEAD, spec.vocab));
  const loss = mul(log(pick(p, labels)), scope.scalar(-1));
  return withVjp(loss, [h], (dy) => {
    const expected = frozenGradient(kept, HEAD, p, spec.hidden, 'shares');
    const wanted = frozenRows(kept, HEAD, reshape(labels, [labels.shape[0]!]), [spec.vocab, spec.hidden]);
    return [mul(sub(expected, wanted), dy)];
  });
}

/** The largest magnitudes of what the head's weight multiplies, [hidden], for calibration. */
export const headPeaks = (scope: Scope, spec: ModelSpec, x: Value): Value => columnPeaks(normed(scope, spec, x));

const normed = (scope: Scope, spec: ModelSpec, x: Value): Value =>
  rmsNorm(x, scope.input('finalNorm', [spec.hidden]), spec.epsilon);
