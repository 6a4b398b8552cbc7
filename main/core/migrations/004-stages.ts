/** @file Runs that stand on others, exports of one stage alone, and both in stages as a choice. */

export const stages = `
ALTER TABLE run ADD COLUMN over_run TEXT REFERENCES run(id);
ALTER TABLE run ADD COLUMN over_checkpoint TEXT;
ALTER TABLE export ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
CREATE TABLE choice_next (
  project TEXT PRIMARY KEY REFERENCES project(slug) ON DELETE CASCADE,
  strategy TEXT NOT NULL CHECK (strategy IN ('instruct', 'non-instruct', 'staged')),
  reason TEXT NOT NULL,
  advised TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT;
INSERT INTO choice_next SELECT project, strategy, reason, advised, at FROM choice;
DROP TABLE choice;
ALTER TABLE choice_next RENAME TO choice;
`;
