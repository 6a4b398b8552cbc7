/** @file Examples of arithmetic in words, for benchmarks: they cost what real ones cost, and nothing is learned from them. */

/** Questions of a primary school, worked in three steps, as many words as GSM8K's have. */
export function sums(count: number): string {
  const names = ['Ana', 'Ben', 'Cleo', 'Dev', 'Eve'];
  const rows = Array.from({ length: count }, (_, i) => {
    const [name, boxes, each, gone] = [names[i % names.length]!, 3 + i, 4 + (i % 7), 2 + (i % 5)];
    const all = boxes * each;
    return {
      instruction: `${name} keeps a market stall and brings ${boxes} boxes of apples in the morning, with ${each} apples in each box. Before noon ${gone} apples are given to children, and one half of those that are left, rounded down, are sold in the afternoon to a baker for his cakes. How many apples does ${name} take home in the evening?`,
      response: `${name} brings ${boxes} * ${each} = ${all} apples in the morning. After the children came there are ${all} - ${gone} = ${all - gone} apples left. The baker buys half of those, that is ${Math.floor((all - gone) / 2)} apples. So ${name} takes ${all - gone} - ${Math.floor((all - gone) / 2)} = ${all - gone - Math.floor((all - gone) / 2)} apples home. #### ${all - gone - Math.floor((all - gone) / 2)}`,
    };
  });
  return rows.map((row) => JSON.stringify(row)).join('\n');
}
