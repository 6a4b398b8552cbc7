/** @file Preference data, and versions that know what they were made from. */

export const datasets = `
CREATE TABLE dataset_next (
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('instruction', 'conversation', 'prose', 'preference')),
  hash TEXT NOT NULL,
  -- the version it was made from
  parent TEXT,
  -- contract's Dataset without the columns beside it
  facts TEXT NOT NULL CHECK (json_valid(facts)),
  created_at TEXT NOT NULL,
  PRIMARY KEY (project, id)
) STRICT;
INSERT INTO dataset_next
  SELECT project, id, name, kind, hash, NULL,
    json_set(json_remove(facts, '$.shape'),
      '$.shapes', json_array(json_set(json_extract(facts, '$.shape'), '$.rows', json_extract(facts, '$.rows'))),
      '$.removed', json_array(), '$.steps', json_array(), '$.job', ''),
    created_at
  FROM dataset;
DROP TABLE dataset;
ALTER TABLE dataset_next RENAME TO dataset;
`;
