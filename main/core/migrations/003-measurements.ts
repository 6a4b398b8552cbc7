/** @file What base models already do on a project's examples, measured before tuning. */

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
