/** @file The head: final norm, logits, and cross-entropy with its own way back, on the rows that carry a label. */
import type { Precision } from '../../contract/recipe.ts';
import { withVjp } from '../autodiff/gradient.ts';
import { add, columnPeaks, gemm, log, mul, oneHot, pick, reshape, softmax, sub, sumLast } from '../graph/ops/index.ts';
import type { Scope, Value } from '../graph/value.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { capped, capSlope } from './attention.ts';
import { frozenCentre, frozenGradient, frozenInput, frozenRows } from './frozen.ts';

/** Name of the head's weight [vocab, hidden] as an input of a segment. */
export const HEAD = 'head';

/** 4 bits are too few for the head, which has the last word. */
export const headPrecision = (precision: Precision): Exclude<Precision, 'int4'> =>
  precision === 'int4' ? 'int8' : precision;

/** Logits [n, vocab] of x [n, hidden]. Inputs it declares: the final norm's vectors, and the head's weight. */
export function logits(scope: Scope, spec: ModelSpec, x: Value, precision: Precision = 'fp32'): Value {
  const { product } = frozenInput(headPrecision(precision), HEAD, normed(scope, spec, x));
  return capped(product(HEAD, spec.vocab), spec.logitSoftCap);
}

/**
 * Negative log likelihood [n, 1] of labels int64 [n, 1], in nats. With p = softmax(h E'), its gradient for a frozen E
 * is (p E - E[label]) dy: no one-hot matrix is needed, but for the gradient of E itself, ((p - onehot(label)) dy)' h.
 * Under a soft cap all terms carry its slope, by logit.
 * @param trained the head's own matrix is trained too
 */
export function crossEntropy(
  scope: Scope,
  spec: ModelSpec,
  x: Value,
  labels: Value,
  { trained = false, precision = 'fp32' }: { readonly trained?: boolean; readonly precision?: Precision } = {},
): Value {
  const kept = headPrecision(precision);
  const shape = [spec.vocab, spec.hidden] as const;
  const { x: h, product } = frozenInput(kept, HEAD, normed(scope, spec, x));
  const raw = product(HEAD, spec.vocab);
  // One softmax for the loss and its way back; a logarithm of each whole row would be a pass more over all logits.
  const p = softmax(capped(raw, spec.logitSoftCap));
  const loss = mul(log(pick(p, labels)), scope.scalar(-1));
  if (trained) {
    const table = scope.input(HEAD, shape);
    return withVjp(loss, [h, table], (dy) => {
      const off = mul(sub(p, oneHot(labels, spec.vocab)), dy);
      const dz = spec.logitSoftCap === undefined ? off : mul(off, capSlope(raw, spec.logitSoftCap));
      return [gemm(dz, table), gemm(dz, h, { transA: true })];
    });
  }
  return withVjp(loss, [h], (dy) => {
    const expected = (shares: Value): Value => frozenGradient(kept, HEAD, shares, spec.hidden, 'shares');
    const wanted = reshape(frozenRows(kept, HEAD, labels, shape), h.shape);
    if (spec.logitSoftCap === undefined) return [mul(sub(expected(p), wanted), dy)];
    const slope = capSlope(raw, spec.logitSoftCap);
    const [sloping, own] = [mul(p, slope), pick(slope, labels)];
    const off = sub(expected(sloping), mul(wanted, own));
    if (kept !== 'int8') return [mul(off, dy)];
    // The shares no longer add up to what the label takes, so that what all rows have in common counts.
    const common = mul(sub(sumLast(sloping), own), frozenCentre(scope, HEAD, spec.hidden));
    return [mul(add(off, common), dy)];
  });
}

/** The largest magnitudes of what the head's weight multiplies, [hidden], for calibration. */
export const headPeaks = (scope: Scope, spec: ModelSpec, x: Value): Value => columnPeaks(normed(scope, spec, x));

const normed = (scope: Scope, spec: ModelSpec, x: Value): Value =>
  spec.finalNorm({ vector: (name) => scope.input(name, [spec.finalVectors.find((v) => v.name === name)!.size]) }, x);
