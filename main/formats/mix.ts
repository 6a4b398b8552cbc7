/** @file Which blocks of a model keep more bits where most have few: what is read from the context, and the way down, suffer most. */

/** The mix that llama.cpp calls medium: the first and last eighth, and every third between them. About half of all. */
export function keepsMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= layers - eighth || (layer - eighth) % 3 === 2;
}
