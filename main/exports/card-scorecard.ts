/** @file The scorecard on the model card: what was measured against others, without what was asked and answered. */
import type { Measured } from '../contract/entities.ts';
import { hasMargin } from '../contract/margin.ts';
import { rowsInWords, suitesInWords } from '../contract/measured-on.ts';
import type { CardFacts } from './card.ts';
import { count, plain } from './markdown.ts';

/** What was measured against others, with margins of 95%. */
export function scorecard({ self, result }: NonNullable<CardFacts['comparison']>): string[] {
  const { models, losses, scorecard: card, heldOutRows } = result;
  const margin = ({ value, low, high }: Measured, digits: number): string =>
    `${value.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
  const share = ({ value, low, high }: Measured): string =>
    `${Math.round(100 * value)}% (${Math.round(100 * low)} to ${Math.round(100 * high)})`;
  const rows: string[][] = [
    ...(losses.length > 0
      ? [
          [
            `Loss on ${count(heldOutRows)} unseen rows, nats a token`,
            ...losses.map(({ loss }) => (hasMargin(heldOutRows) ? margin(loss, 3) : loss.value.toFixed(3))),
          ],
        ]
      : []),
    ...(card?.goal
      ? [
          [
            `The task, by ${card.goal.checks.map(({ check }) => check.kind).join(', ')} (${card.goal.items.length} answers)`,
            ...card.goal.scores.map(share),
          ],
        ]
      : []),
    ...(card?.general ? [[`General skills (${card.general.count} items)`, ...card.general.scores.map(share)]] : []),
    ...(card?.skills ?? []).map(({ skill, items, scores }) => [`${skill} (${items.length})`, ...scores.map(share)]),
    ...(card?.prose ? [['Other text, nats a token', ...card.prose.losses.map((loss) => margin(loss, 3))]] : []),
  ];
  const labels = models.map(({ label }, i) => (i === self ? '**this**' : plain(label)));
  return [
    '## Scorecard',
    '',
    `| | ${labels.join(' | ')} |`,
    `|---|${labels.map(() => '---').join('|')}|`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    ...[...result.differences.map(({ sentence }) => sentence), ...(card?.sentences ?? [])].map(
      (sentence) => `- ${plain(sentence)}`,
    ),
    '',
    plain(`Margins are 95%. Measured on ${suitesInWords(result)}. ${rowsInWords(result).join(' ')}`.trimEnd()),
  ];
}
