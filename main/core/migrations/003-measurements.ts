/** @file What base models already do on a project's examples and prose, measured before tuning. Each version of each kind has a row of its own: a BaseMeasure of examples, a ProseMeasure of prose. */

export const measurements = `
CREATE TABLE measurement (
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  dataset_hash TEXT NOT NULL,
  model_hash TEXT NOT NULL,
  -- contract's BaseMeasure
  result TEXT NOT NULL CHECK (json_valid(result)),
  PRIMARY KEY (project, dataset_hash, model_hash)
) STRICT;
`;
