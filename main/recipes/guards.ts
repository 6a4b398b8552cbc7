/** @file What can go wrong with this strategy on this model, what stands against it, and what else could be done. */
import type { Estimate, Guard } from '../contract/entities.ts';
import type { Recipe } from '../contract/recipe.ts';
import type { RecipeContext } from './preset.ts';

const count = (value: number): string => value.toLocaleString('en-GB');

export function guardsOf(recipe: Recipe, { strategy, model }: RecipeContext, estimate: Estimate): Guard[] {
  const guards: Guard[] = [];
  if (strategy === 'non-instruct' && model.kind.value === 'instruct') {
    const share = `${count(estimate.rehearsalTokens)} general tokens of a pass (${Math.round(recipe.rehearsal * 1000) / 10}%)`;
    guards.push({
      what: 'An instruct model learns from plain prose',
      measured:
        recipe.rehearsal > 0
          ? `It may unlearn to answer: raw text gives knowledge and takes from prompting (Cheng et al. 2023). ${share} are requests with their answers.`
          : 'It may unlearn to answer: raw text gives knowledge and takes from prompting (Cheng et al. 2023). No general requests are mixed in.',
      suggestion:
        'Take the base model that this one was made from and tune in stages, or mix in general requests (rehearsal, 0.05 is usual).',
      holds: recipe.rehearsal >= 0.01,
    });
  }
  if (strategy === 'instruct' && !model.hasChatTemplate)
    guards.push({
      what: 'A model without a chat template learns to answer',
      measured: `The files of ${model.name} say nothing of conversations. A plain template is used: “### Question”, “### Answer”, and the end-of-text token after each answer.`,
      suggestion:
        'It goes into what is exported, so that other programs ask in the same form. An instruct model brings its own and needs fewer examples.',
      holds: true,
    });
  return guards;
}
