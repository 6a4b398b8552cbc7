/** @file The embedding: rows of its table, scaled where the architecture says so, with learned positions where it has any. */
import type { Precision } from '../../contract/recipe.ts';
import { add, mul, rows } from '../graph/ops/index.ts';
import type { Scope, Value } from '../graph/value.ts';
import { isTied, type ModelSpec } from '../architectures/spec.ts';
import { frozenCentre, frozenRows } from './frozen.ts';
import { smoothNames } from '../quantise/int8.ts';
import { HEAD } from './head.ts';

/**
 * x [n, hidden] of ids int64 [n]. Inputs it declares: embedding [vocab, hidden]; with learned positions also
 * embedding.positions [maxPositions, hidden] and positions int64 [n].
 */
export function embed(scope: Scope, spec: ModelSpec, ids: Value, precision: Precision = 'fp32'): Value {
  const shape = [spec.vocab, spec.hidden] as const;
  // In int4 the table is kept in 8 bits, which a tied head has already, scaled as its input wants it.
  const inEight = (): Value => {
    const table = isTied(spec) ? HEAD : 'embedding';
    const found = add(frozenRows('int8', table, ids, shape), frozenCentre(scope, table, spec.hidden));
    return isTied(spec) ? mul(found, scope.input(smoothNames(HEAD).smooth, [spec.hidden])) : found;
  };
  const exact = precision === 'fp16' ? 'fp16' : 'fp32';
  const plain = precision === 'int4' ? inEight() : frozenRows(exact, 'embedding', ids, shape);
  const x = spec.embeddingScale === 1 ? plain : mul(plain, scope.scalar(spec.embeddingScale));
  if (spec.names.positions === undefined) return x;
  const places = scope.input('embedding.positions', [spec.maxPositions, spec.hidden]);
  return add(x, rows(places, scope.input('positions', ids.shape, 'int64')));
}
