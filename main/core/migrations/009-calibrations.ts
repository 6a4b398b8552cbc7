/** @file What the first steps of recipes took on this machine. */

export const calibrations = `
CREATE TABLE calibration (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  model TEXT NOT NULL,
  dataset TEXT NOT NULL,
  recipe TEXT NOT NULL CHECK (json_valid(recipe)),
  -- hash of what the times hang on
  key TEXT NOT NULL,
  -- recipes/estimate.ts Calibrated; null while it is measured
  result TEXT CHECK (result IS NULL OR json_valid(result)),
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX calibration_key ON calibration (project, key);
`;
