/** @file The embedding: rows of its table, scaled where the architecture says so, with learned positions where it has any. */
import { add, mul, rows } from '../graph/ops/index.ts';
import type { Scope, Value } from '../graph/value.ts';
import type { ModelSpec } from '../architectures/spec.ts';

/**
 * x [n, hidden] of ids int64 [n]. Inputs it declares: embedding [vocab, hidden]; with learned positions also
 * embedding.positions [maxPositions, hidden] and positions int64 [n].
 */
export function embed(scope: Scope, spec: ModelSpec, ids: Value): Value {
  const plain = rows(scope.input('embedding', [spec.vocab, spec.hidden]), ids);
  const x = spec.embeddingScale === 1 ? plain : mul(plain, scope.scalar(spec.embeddingScale));
  if (spec.names.positions === undefined) return x;
  const table = scope.input('embedding.positions', [spec.maxPositions, spec.hidden]);
  return add(x, rows(table, scope.input('positions', ids.shape, 'int64')));
}
