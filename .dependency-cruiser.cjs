// Layering: a person can say from a file's path what it may import. Imports go one way:
// contract <- formats <- engine, contract <- core, all of them <- features <- workers, hosts and cli.
const features = 'main/(projects|datasets|models|strategy|pilots|recipes|runs|evaluation|talk|exports)';
const only = (name, from, allowed, extra = {}) => ({
  name,
  severity: 'error',
  from: { path: from, pathNot: '\\.test\\.ts$|/testing\\.ts$' },
  to: { path: '^(main|renderer|preload|test|scripts)/', pathNot: allowed, ...extra },
});

module.exports = {
  forbidden: [
    only('contract-imports-nothing', '^main/contract/', '^main/contract/'),
    only('formats', '^main/formats/', '^main/(formats|contract)/'),
    only('engine', '^main/engine/', '^main/(engine|formats|contract)/'),
    only('core', '^main/core/', '^main/(core|contract)/'),
    // Types of a worker's job and events may be shared with the feature that starts it.
    only('features', `^${features}/`, `^(${features}|main/(core|contract|formats|engine))/`, {
      dependencyTypesNot: ['type-only'],
    }),
    only('workers', '^main/workers/', `^(${features}|main/(workers|core|contract|formats|engine))/`),
    only('cli', '^main/cli/', '^main/(cli|hosts|core|contract)/'),
    only('hosts', '^main/hosts/', `^(${features}|main/(hosts|workers|core|contract|formats|engine))/`),
    only('renderer', '^renderer/', '^(renderer|main/contract)/'),
    only('preload', '^preload/', '^(preload|main/contract)/'),
    {
      name: 'electron-only-in-its-host',
      severity: 'error',
      from: { pathNot: '^(main/hosts/electron|preload|test)/' },
      to: { path: '^(node_modules/)?electron(/|$)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'runtime-only-in-the-engine',
      severity: 'error',
      from: { path: '^main/', pathNot: '^main/(engine|hosts)/' },
      to: { path: 'node_modules/onnxruntime-node' },
    },
    // Ops name each other in their ways back: a product's is a product, a softmax's a sum.
    {
      name: 'no-cycles',
      severity: 'error',
      from: { pathNot: '^main/engine/graph/ops/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.svelte', '.mjs'] },
  },
};
