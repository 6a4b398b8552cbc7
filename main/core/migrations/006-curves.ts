/** @file Learning curves: short runs on parts of a dataset. */

export const curves = `
CREATE TABLE curve (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  model TEXT NOT NULL,
  request TEXT NOT NULL CHECK (json_valid(request)),
  -- contract's LearningCurve.result
  result TEXT CHECK (result IS NULL OR json_valid(result)),
  created_at TEXT NOT NULL
) STRICT;
`;
