/** @file The head: final norm, logits, and cross-entropy with its own way back, on the rows that carry a label. */
import { withVjp } from '../autodiff/gradient.ts';
import { gemm, logSoftmax, mul, oneHot, pick, reshape, rows, softmax, sub } from '../graph/ops/index.ts';
import type { Scope, Value } from '../graph/value.ts';
import type { ModelSpec } from '../architectures/spec.ts';
import { capped, capSlope } from './attention.ts';

/** Logits [n, vocab] of x [n, hidden]. Inputs it declares: the final norm's vectors, head [vocab, hidden]. */
export function logits(scope: Scope, spec: ModelSpec, x: Value): Value {
  return capped(gemm(normed(scope, spec, x), headWeight(scope, spec), { transB: true }), spec.logitSoftCap);
}

/**
 * Negative log likelihood [n, 1] of labels int64 [n, 1], in nats. With p = softmax(h E'), its gradient for a frozen E
 * is (p E - E[label]) dy: no one-hot matrix is needed, but for the gradient of E itself, ((p - onehot(label)) dy)' h.
 * Under a soft cap all terms carry its slope, by logit.
 * @param trained the head's own matrix is trained too
 */
export function crossEntropy(scope: Scope, spec: ModelSpec, x: Value, labels: Value, trained = false): Value {
  const h = normed(scope, spec, x);
  const table = headWeight(scope, spec);
  const raw = gemm(h, table, { transB: true });
  const z = capped(raw, spec.logitSoftCap);
  const loss = mul(pick(logSoftmax(z), labels), scope.scalar(-1));
  if (trained)
    return withVjp(loss, [h, table], (dy) => {
      const off = mul(sub(softmax(z), oneHot(labels, spec.vocab)), dy);
      const dz = spec.logitSoftCap === undefined ? off : mul(off, capSlope(raw, spec.logitSoftCap));
      return [gemm(dz, table), gemm(dz, h, { transA: true })];
    });
  return withVjp(loss, [h], (dy) => {
    // A second softmax is quicker than the exponential of the first one's logarithm, whose kernel is slow.
    const p = softmax(z);
    const wanted = rows(table, reshape(labels, [labels.shape[0]!]));
    if (spec.logitSoftCap === undefined) return [mul(sub(gemm(p, table), wanted), dy)];
    const slope = capSlope(raw, spec.logitSoftCap);
    return [mul(sub(gemm(mul(p, slope), table), mul(wanted, pick(slope, labels))), dy)];
  });
}

const normed = (scope: Scope, spec: ModelSpec, x: Value): Value =>
  spec.finalNorm({ vector: (name) => scope.input(name, [spec.finalVectors.find((v) => v.name === name)!.size]) }, x);
const headWeight = (scope: Scope, spec: ModelSpec): Value => scope.input('head', [spec.vocab, spec.hidden]);
