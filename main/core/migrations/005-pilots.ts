/** @file Pilots: ways of tuning tried on a slice. */

export const pilots = `
CREATE TABLE pilot (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  model TEXT NOT NULL,
  request TEXT NOT NULL CHECK (json_valid(request)),
  -- contract's Pilot.result
  result TEXT CHECK (result IS NULL OR json_valid(result)),
  created_at TEXT NOT NULL
) STRICT;
`;
